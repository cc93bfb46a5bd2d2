/** Serializers and deserializers of Nest: what they are given, and what of what they give travels in a packet of the mesh. */
import type {
  ConsumerDeserializer,
  ConsumerSerializer,
  ProducerDeserializer,
  ProducerSerializer,
} from '@nestjs/microservices';
import type { MeshOptions } from '../node/mesh-options.js';
import { MeshError } from '../protocol/mesh-error.js';
import { isRecord } from '../protocol/handler-error.js';

/** Those of a server: they read requests and events, and write answers. */
export interface ServerSerialization {
  /** Reads requests and events: gets `{ id?, pattern, data, metadata? }` and gives the same, at once or as a Promise. */
  readonly deserializer?: ConsumerDeserializer | undefined;
  /** Writes answers: gets `{ id, response | err, isDisposed? }` and gives the same, at once or as a Promise. */
  readonly serializer?: ConsumerSerializer | undefined;
}

/** Those of a client: they write requests and events, and read answers. */
export interface ClientSerialization {
  /** Writes requests and events: gets `{ id?, pattern, data, metadata? }` and gives the same, at once or as a Promise. */
  readonly serializer?: ProducerSerializer | undefined;
  /** Reads answers: gets `{ id, response | err, isDisposed? }` and gives the same, at once or as a Promise. */
  readonly deserializer?: ProducerDeserializer | undefined;
}

/** The options without them: those of a node. */
export function nodeOptionsOf(
  options: MeshOptions & { serializer?: unknown; deserializer?: unknown },
): MeshOptions {
  const own = { ...options };
  delete own.serializer;
  delete own.deserializer;
  return own;
}

/** What of a request or an event travels. */
export interface PlainRequest {
  readonly pattern: unknown;
  readonly data: unknown;
  readonly metadata: unknown;
}

/** What of an answer travels. */
export interface PlainResponse {
  readonly response?: unknown;
  readonly err?: unknown;
  readonly isDisposed?: boolean;
}

const REQUEST_WORDS: ReadonlySet<string> = new Set(['id', 'pattern', 'data', 'metadata']);
const RESPONSE_WORDS: ReadonlySet<string> = new Set(['id', 'response', 'err', 'isDisposed', 'status']);

/** Throws a `MeshError` for what can be no serializer or no deserializer. `undefined` when there is neither. */
export function checkedSerialization<S extends ServerSerialization | ClientSerialization>(
  given: S,
): S | undefined {
  const { serializer, deserializer } = given;
  const faults: string[] = [];
  if (serializer !== undefined && !hasMethod(serializer, 'serialize'))
    faults.push('serializer must have the method serialize()');
  if (deserializer !== undefined && !hasMethod(deserializer, 'deserialize'))
    faults.push('deserializer must have the method deserialize()');
  if (faults.length > 0)
    throw new MeshError('INVALID_ARGUMENT', `invalid options:\n- ${faults.join('\n- ')}`);
  return serializer === undefined && deserializer === undefined ? undefined : given;
}

/** A request or an event as a serializer gave it: what is no packet is its data, whole. Throws for members that cannot travel. */
export function requestFrom(given: unknown, before: PlainRequest): PlainRequest {
  if (!isRecord(given) || (!('data' in given) && !('pattern' in given))) return { ...before, data: given };
  refuseFurther(given, REQUEST_WORDS, 'pattern, data and metadata');
  return {
    pattern: given['pattern'] ?? before.pattern,
    data: given['data'],
    metadata: 'metadata' in given ? given['metadata'] : before.metadata,
  };
}

/** An answer as a serializer gave it: what is no packet is its value, or its error. Throws for members that cannot travel. */
export function responseFrom(given: unknown, before: PlainResponse): PlainResponse {
  const isPacket = isRecord(given) && ('response' in given || 'err' in given || 'isDisposed' in given);
  if (!isPacket) return before.err === undefined ? { response: given } : { err: given };
  refuseFurther(given, RESPONSE_WORDS, 'response and err');
  if (given['err'] !== undefined) return { err: given['err'] };
  return 'response' in given ? { response: given['response'] } : {};
}

function refuseFurther(given: Record<string, unknown>, words: ReadonlySet<string>, which: string): void {
  const further = Object.keys(given).filter((word) => !words.has(word) && given[word] !== undefined);
  if (further.length === 0) return;
  throw new MeshError(
    'INVALID_ARGUMENT',
    `the serializer gave a packet with ${further.map((word) => JSON.stringify(word)).join(', ')}: only ${which} of it travel, ` +
      `so put that into them, or give something that has none of them, which travels whole`,
    { delivery: 'not-sent' },
  );
}

function hasMethod(value: unknown, name: string): boolean {
  return typeof (value as Record<string, unknown> | null)?.[name] === 'function';
}
