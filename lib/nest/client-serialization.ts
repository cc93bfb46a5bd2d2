/** What a client with a serializer or a deserializer does beside the rest: to those without, nothing of it happens. */
import type { ReadPacket, WritePacket } from '@nestjs/microservices';
import { tagError } from '../protocol/error-id.js';
import { MeshError } from '../protocol/mesh-error.js';
import type { CallingStream } from '../transport/calling-stream.js';
import { isPromiseLike } from './foreign.js';
import { isRecord } from '../protocol/handler-error.js';
import { MeshRecord } from './mesh.record-builder.js';
import { requestFrom, type ClientSerialization, type PlainResponse } from './serialization.js';
import { streamInputOf } from './streaming.js';

type PacketMetadata = NonNullable<ReadPacket['metadata']>;
type Callback = (packet: WritePacket) => void;
type Given = ReadPacket & { readonly id?: string; readonly metadata?: unknown };

/** The packet as the serializer gives it; each value of a stream of input passes it by itself. Throws what the serializer throws. */
export function serializedPacket(
  codecs: ClientSerialization,
  packet: Given,
): ReadPacket | Promise<ReadPacket> {
  const { serializer } = codecs;
  if (serializer === undefined) return packet;
  const record = MeshRecord.is(packet.data) ? packet.data : undefined;
  const data: unknown = record === undefined ? packet.data : record.data;
  const wrap = (made: unknown): unknown =>
    record === undefined ? made : new MeshRecord(made, record.options);
  const items = streamInputOf(data);
  const write = (one: unknown): unknown => serializer.serialize({ ...packet, data: one } as never);
  const before = { pattern: packet.pattern as unknown, data, metadata: packet.metadata };
  if (items !== undefined) {
    const each = async function* (): AsyncIterable<unknown> {
      for await (const one of items) yield requestFrom(await write(one), before).data;
    };
    return { ...packet, data: wrap(each()) };
  }
  const from = (given: unknown): ReadPacket => {
    const made = requestFrom(given, before);
    const metadata = made.metadata === undefined ? {} : { metadata: made.metadata as PacketMetadata };
    return { pattern: made.pattern as ReadPacket['pattern'], data: wrap(made.data), ...metadata };
  };
  const given = write(data);
  return isPromiseLike(given) ? Promise.resolve(given).then(from) : from(given);
}

/** Makes a call whose packets pass the serializer and the deserializer, in order. `publish` makes the call itself. */
export function publishSerialized(
  codecs: ClientSerialization,
  packet: Given,
  publish: (packet: ReadPacket, callback: Callback) => () => void,
  callback: Callback,
): () => void {
  let wanted = true;
  let cancel = (): void => undefined;
  const stop = (): void => {
    wanted = false;
    cancel();
  };
  const reader = new AnswerReader(codecs, packet.id, callback, stop);
  const begin = (given: ReadPacket): void => {
    if (!wanted) return;
    const teardown = publish(given, (answer) => reader.onPacket(answer));
    cancel = teardown;
    // It may have ended at once.
    if (!wanted) teardown();
  };
  try {
    const given = serializedPacket(codecs, packet);
    if (isPromiseLike(given)) given.then(begin).catch((err: unknown) => wanted && callback({ err }));
    else begin(given);
  } catch (err) {
    callback({ err });
  }
  return stop;
}

/** A call stream whose values pass the deserializer; `next()` rejects with what it throws, and the call is cancelled. */
export function deserializedStream(
  codecs: ClientSerialization,
  call: CallingStream,
): Pick<CallingStream, 'next' | 'cancel' | 'fail'> {
  const read = async (packet: WritePacket): Promise<PlainResponse> => {
    try {
      return await deserialized(codecs, undefined, packet);
    } catch (error) {
      call.cancel();
      throw error;
    }
  };
  return {
    async next() {
      let result: IteratorResult<unknown, undefined>;
      try {
        result = await call.next();
      } catch (err) {
        if (MeshError.is(err)) throw err;
        throw (await read({ err, isDisposed: true })).err ?? err;
      }
      if (result.done === true) return result;
      const { err, response } = await read({ response: result.value });
      if (err === undefined) return { done: false, value: response };
      call.cancel();
      throw err;
    },
    cancel: () => call.cancel(),
    fail: (error) => call.fail(error),
  };
}

/** Reads the packets of one answer, in order, however long the deserializer takes for each. */
class AnswerReader {
  private tail: Promise<void> | undefined;
  private over = false;

  constructor(
    private readonly codecs: ClientSerialization,
    private readonly id: string | undefined,
    private readonly callback: Callback,
    private readonly stop: () => void,
  ) {}

  onPacket(packet: WritePacket): void {
    if (this.tail !== undefined) {
      this.queue(packet, () => this.read(packet));
      return;
    }
    let given: unknown;
    try {
      given = this.read(packet);
    } catch (err) {
      this.end({ err });
      return;
    }
    if (isPromiseLike(given)) this.queue(packet, () => given);
    else this.tell(packet, given as PlainResponse);
  }

  private read(packet: WritePacket): unknown {
    return deserialized(this.codecs, this.id, packet);
  }

  private queue(packet: WritePacket, read: () => unknown): void {
    const step = async (): Promise<void> => {
      try {
        if (!this.over) this.tell(packet, (await read()) as PlainResponse);
      } catch (err) {
        this.end({ err });
      }
    };
    const tail = (this.tail ?? Promise.resolve()).then(step).then(() => {
      if (this.tail === tail) this.tail = undefined;
    });
    this.tail = tail;
  }

  private tell(packet: WritePacket, { response, err, isDisposed }: PlainResponse): void {
    if (this.over) return;
    const last = packet.isDisposed === true || Boolean(packet.err);
    const answer: WritePacket = { err, response };
    if (!last && isDisposed !== true && !err) this.callback(answer);
    else if (err || response !== undefined || Object.hasOwn(packet, 'response'))
      this.end({ ...answer, isDisposed: true });
    else this.end({ isDisposed: true });
  }

  private end(packet: WritePacket): void {
    if (this.over) return;
    this.over = true;
    this.callback(packet);
    this.stop();
  }
}

/** What the deserializer reads; errors of the transport pass it by. */
function deserialized(
  { deserializer }: ClientSerialization,
  id: string | undefined,
  packet: WritePacket,
): PlainResponse | Promise<PlainResponse> {
  if (deserializer === undefined || MeshError.is(packet.err)) return packet;
  const { errorId, ...shown } = packet as WritePacket & { readonly errorId?: string };
  const given: unknown = deserializer.deserialize(id === undefined ? shown : { ...shown, id });
  const from = (value: unknown): PlainResponse => {
    if (!isRecord(value))
      throw new TypeError('the deserializer must give an object with response, err or isDisposed');
    const err = value['err'];
    const isDisposed = value['isDisposed'] === true;
    if (!err) return { response: value['response'], isDisposed };
    tagError(err, errorId ?? (packet.err as { errorId?: unknown } | undefined)?.errorId);
    return { err: MeshError.fromWire(err) ?? err, isDisposed: true };
  };
  return isPromiseLike(given) ? Promise.resolve(given).then(from) : from(given);
}
