/** Nodes for tests: found through memory or a hand-made registry, fast, and all closed at the end of the test. */
import { randomUUID } from 'node:crypto';
import { MeshNode } from '../../lib/node/mesh-node.js';
import type { ChannelOpening, NodeHandlers } from '../../lib/node/handlers.js';
import type { MeshOptions } from '../../lib/node/mesh-options.js';
import type { Target } from '../../lib/node/target.js';
import { MeshError } from '../../lib/protocol/mesh-error.js';
import type { Metadata, ResponsePacket } from '../../lib/protocol/packet.js';
import type { NodeRecord } from '../../lib/registry/node-record.js';
import type {
  Announcement,
  RegistryStatus,
  ServiceRegistry,
  Watch,
  WatchListener,
} from '../../lib/registry/registry.js';
import type { InboundCall } from '../../lib/transport/inbound-call.js';
import type { CallRetry } from '../../lib/transport/outbound-call.js';
import type { InboundEvent } from '../../lib/transport/packet-channel.js';
import type { RawChannel } from '../../lib/transport/raw-channel.js';

/** Where a call or an event came from. */
export type Origin = Parameters<NodeHandlers['onRequest']>[1];

/** What a node of a test answers, by route. */
export interface Answers {
  /** A value or a Promise answers the call; `undefined` (with the call in hand) leaves it to the test. */
  readonly calls?: Readonly<Record<string, (data: never, call: InboundCall, origin: Origin) => unknown>>;
  readonly event?: (event: InboundEvent, origin: Origin) => void;
  /** Raw channels by name; `''` is the default one. */
  readonly channels?: Readonly<Record<string, (channel: RawChannel, opening: ChannelOpening) => void>>;
}

/** Answers as a node takes them. */
export function handlersOf({ calls = {}, event, channels = {} }: Answers): NodeHandlers {
  return {
    onRequest(call, origin) {
      const answer = calls[String(call.pattern)];
      if (answer === undefined) {
        call.fail(
          new MeshError('UNIMPLEMENTED', `no handler for ${String(call.pattern)}`, {
            delivery: 'refused',
          }).toWire(),
        );
        return;
      }
      const given = answer(call.data as never, call, origin);
      if (given === undefined) return;
      Promise.resolve(given).then(
        (value) => call.respond(value),
        (error: unknown) => call.fail(String(error)),
      );
    },
    onEvent: (received, origin) => event?.(received, origin),
    hasChannel: (name) => Object.hasOwn(channels, name ?? ''),
    onChannel: (channel, opening) => channels[opening.name ?? '']?.(channel, opening),
  };
}

/** How a call of a test is made. */
export interface CallOptions {
  /** @default 5_000 */
  readonly timeoutMs?: number;
  readonly metadata?: Metadata;
  readonly retry?: CallRetry;
  readonly idempotent?: boolean;
}

/** Makes a call; resolves with its last value, rejects with its error. */
export function callOf(
  node: MeshNode,
  target: Target,
  pattern: string,
  data?: unknown,
  options: CallOptions = {},
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    let last: unknown;
    const request = {
      pattern,
      route: pattern,
      data,
      metadata: options.metadata,
      timeoutMs: options.timeoutMs ?? 5_000,
      retry: options.retry,
      idempotent: options.idempotent,
    };
    node.request(target, request, {
      onPacket(packet: ResponsePacket) {
        if (packet.err !== undefined) reject(packet.err);
        else if (packet.response !== undefined) last = packet.response;
        if (packet.isDisposed === true) resolve(last);
      },
      onFailure: reject,
    });
  });
}

/** The MeshError that the promise rejects with. */
export async function failureOf(promise: Promise<unknown>): Promise<MeshError> {
  let value: unknown;
  try {
    value = await promise;
  } catch (error) {
    if (MeshError.is(error)) return error;
    throw error;
  }
  throw new Error(`a MeshError was expected, but it resolved with ${JSON.stringify(value)}`);
}

/** A registry whose records the test sets by hand. */
export class StaticRegistry implements ServiceRegistry {
  readonly url = 'memory:static';
  readonly status: RegistryStatus = { state: 'connected' };
  /** What was announced and not withdrawn. */
  readonly announced: NodeRecord[] = [];
  private records: readonly NodeRecord[] = [];
  private readonly watches = new Map<WatchListener, string>();

  constructor(...records: NodeRecord[]) {
    this.records = records;
  }

  /** From now on exactly these nodes are listed. */
  set(...records: NodeRecord[]): void {
    this.records = records;
    for (const [listener, service] of this.watches) listener(this.of(service));
  }

  connect(): Promise<void> {
    return Promise.resolve();
  }

  announce(record: NodeRecord): Promise<Announcement> {
    this.announced.push(record);
    return Promise.resolve({
      update: () => Promise.resolve(),
      withdraw: () => {
        this.announced.splice(this.announced.indexOf(record), 1);
        return Promise.resolve();
      },
    });
  }

  watch(service: string, listener: WatchListener): Watch {
    this.watches.set(listener, service);
    queueMicrotask(() => {
      if (this.watches.has(listener)) listener(this.of(service));
    });
    return {
      ready: Promise.resolve(),
      refresh: () => undefined,
      close: () => void this.watches.delete(listener),
    };
  }

  onStatus(): () => void {
    return () => undefined;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  private of(service: string): readonly NodeRecord[] {
    return this.records.filter((record) => record.service === service);
  }
}

/** The record of a peer on this machine. */
export function recordOf(service: string, port: number, id: string = randomUUID()): NodeRecord {
  return { id, service, host: '127.0.0.1', port, metadata: {} };
}

/** Everything that one test opens. `await mesh.close()` in `afterEach`. */
export class Mesh {
  /** Everything that nodes have warned of. */
  readonly warnings: string[] = [];
  private registryUrl = `memory:${randomUUID()}`;
  private readonly opened: { close(): Promise<unknown> }[] = [];

  /** Closes it at the end of the test. */
  keep<T extends { close(): Promise<unknown> }>(thing: T): T {
    this.opened.unshift(thing);
    return thing;
  }

  /** A node that neither listens nor is announced yet. */
  node(options: Partial<MeshOptions> = {}): MeshNode {
    const note = (message: string): void => void this.warnings.push(message);
    return this.keep(
      new MeshNode({
        service: 'caller',
        registry: this.registryUrl,
        heartbeatIntervalMs: 50,
        ttlMs: 1_000,
        drainTimeoutMs: 2_000,
        reconnect: { baseMs: 20, maxMs: 100 },
        logger: { log: () => undefined, debug: () => undefined, warn: note, error: note },
        ...options,
      }),
    );
  }

  /** A node that listens and is announced. */
  async serve(service: string, answers: Answers = {}, options: Partial<MeshOptions> = {}): Promise<MeshNode> {
    const node = this.node({ service, ...options });
    node.setHandlers(handlersOf(answers));
    await node.listen();
    await node.announce();
    return node;
  }

  /** Closes everything, the last opened first, and makes a new registry for the next test. */
  async close(): Promise<void> {
    for (const thing of this.opened.splice(0)) await thing.close();
    this.warnings.length = 0;
    this.registryUrl = `memory:${randomUUID()}`;
  }
}
