/** What the main thread and the lease thread say to each other. */
import type { MeshErrorWire } from '../../protocol/mesh-error.js';
import type { NodeRecord } from '../node-record.js';
import type { RedisSettings } from '../redis/redis-target.js';
import type { RegistryStatus, RegistryTimings } from '../registry.js';

/** What the lease thread is started with. */
export interface LeaseThreadData {
  readonly url: string;
  readonly redis: RedisSettings | undefined;
  readonly timings: RegistryTimings;
  readonly maxBlockedMs: number;
  /** One 32-bit number, which the main thread counts up as long as it lives. */
  readonly beats: SharedArrayBuffer;
}

/** What the lease thread is asked; the answer has the same `ask`. */
export type LeaseRequest =
  | { readonly kind: 'announce'; readonly record: NodeRecord }
  /** Announces a record that stood before, as soon as that works. */
  | { readonly kind: 'resume'; readonly record: NodeRecord }
  | { readonly kind: 'update'; readonly key: string; readonly metadata: NodeRecord['metadata'] }
  | { readonly kind: 'withdraw'; readonly key: string }
  /** Withdraws everything. */
  | { readonly kind: 'close' };

/** A request as it is posted. */
export interface PostedRequest {
  readonly ask: number;
  readonly request: LeaseRequest;
}

/** What the lease thread says. */
export type LeaseReport =
  | { readonly kind: 'done'; readonly ask: number; readonly error?: MeshErrorWire | undefined }
  | { readonly kind: 'status'; readonly status: RegistryStatus }
  | { readonly kind: 'log' | 'warn'; readonly message: string };

/** What a lease is known by. */
export function leaseKey({ service, id }: Pick<NodeRecord, 'service' | 'id'>): string {
  return `${service}:${id}`;
}
