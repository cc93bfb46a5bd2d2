/** What the tests of the wire share: the vectors, and a sink that writes down what a decoder hands out. */
import { readFileSync } from 'node:fs';
import { FrameDecoder } from '../../lib/protocol/frame-decoder.js';
import { MeshError } from '../../lib/protocol/mesh-error.js';
import type { Delivery } from '../../lib/protocol/mesh-error.js';

export interface ErrorVector {
  name: string;
  stage: 'payload' | 'oversize' | 'end' | 'untrusted';
  hex: string;
  error: string;
  before?: unknown;
  then?: unknown;
  declaredBytes?: number;
  call?: { id: string | number; isRequest: boolean };
}

export interface Vectors {
  limits: { maxFrameBytes: number; untrustedAboveBytes: number };
  frames: { name: string; value: unknown; text?: string; hex: string }[];
  sequences: { name: string; values: unknown[]; hex: string }[];
  errors: ErrorVector[];
  packets: { name: string; value: unknown; kind: string | null }[];
  errorWire: {
    name: string;
    wire: unknown;
    error: {
      code: string;
      message: string;
      delivery: Delivery;
      details?: Readonly<Record<string, unknown>>;
    } | null;
    decodeOnly?: boolean;
  }[];
}

/** The data file that every implementation's tests read; its README says what the fields mean. */
export const VECTORS = JSON.parse(
  readFileSync(new URL('../vectors/frames.json', import.meta.url), 'utf8'),
) as Vectors;

/** What a decoder handed out: a payload, or the length and head of a frame that it skipped. */
export type Decoded = Buffer | { declaredBytes: number; head: Buffer };

/** A decoder together with the list of what it handed out so far. */
export function recordingDecoder(maxFrameBytes: number): { decoder: FrameDecoder; decoded: Decoded[] } {
  const decoded: Decoded[] = [];
  const decoder = new FrameDecoder(maxFrameBytes, {
    onFrame: (payload) => decoded.push(payload),
    onOversize: (declaredBytes, head) => decoded.push({ declaredBytes, head }),
  });
  return { decoder, decoded };
}

/** The MeshError that `run` throws; fails when it throws none or something else. */
export function meshErrorOf(run: () => unknown): MeshError {
  try {
    run();
  } catch (error) {
    if (MeshError.is(error)) return error;
    throw error;
  }
  throw new Error('expected a MeshError, nothing was thrown');
}

/** `bytes` cut at the given places, each piece in memory of its own, as it comes from a socket. */
export function cutAt(bytes: Buffer, places: readonly number[]): Buffer[] {
  const chunks: Buffer[] = [];
  let from = 0;
  for (const place of [...places].sort((a, b) => a - b)) {
    chunks.push(Buffer.from(bytes.subarray(from, place)));
    from = place;
  }
  chunks.push(Buffer.from(bytes.subarray(from)));
  return chunks;
}
