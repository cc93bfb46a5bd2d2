/** What a server with a serializer or a deserializer does beside the rest: to those without, nothing of it happens. */
import { randomUUID } from 'node:crypto';
import { MeshError } from '../protocol/mesh-error.js';
import { readMetadata } from '../protocol/packet.js';
import type { InboundCall } from '../transport/inbound-call.js';
import type { InboundEvent } from '../transport/packet-channel.js';
import type { Peer } from '../transport/peer.js';
import { isPromiseLike } from './foreign.js';
import { isRecord } from '../protocol/handler-error.js';
import { callText, describe, type ReplyLogger } from './reply-errors.js';
import type { PlainRequest, ServerSerialization } from './serialization.js';
import { SerializedReplies } from './serialized-replies.js';

type Shown = PlainRequest & { readonly id?: unknown };

export class ServerSerializing {
  constructor(
    private readonly codecs: ServerSerialization,
    private readonly service: string,
    private readonly logger: ReplyLogger,
  ) {}

  /** Hands on a call as the deserializer reads it, whose answer passes the serializer; or ends it. Never throws. */
  request(call: InboundCall, peer: Peer, dispatch: () => void): void {
    const { serializer } = this.codecs;
    if (serializer !== undefined) {
      call.sendThrough(
        (carrier) =>
          new SerializedReplies(carrier, call, serializer, (_, error) => {
            const err = this.fault('INTERNAL', 'serializer', 'write the answer', { call, peer, error });
            return { id: call.id, err, isDisposed: true, status: 'error' };
          }),
      );
    }
    const { pattern, data, metadata } = call;
    const items = this.codecs.deserializer === undefined ? undefined : streamOf(data);
    if (items !== undefined) {
      // A stream of input: its values come one by one, each as the data of a packet.
      call.read({ pattern, data: this.each(items, pattern), metadata });
      dispatch();
      return;
    }
    this.read(
      { id: call.id, pattern, data, metadata },
      (given) => {
        if (!call.open) return;
        call.read({ ...given, metadata: readMetadata(given.metadata) });
        dispatch();
      },
      (error) => {
        const err = this.fault('INVALID_ARGUMENT', 'deserializer', 'read the request', { call, peer, error });
        call.fail(err);
      },
    );
  }

  /** Hands on an event as the deserializer reads it. What fails is logged, and told to who waits for an acknowledgement. */
  event(event: InboundEvent, peer: Peer, dispatch: (event: InboundEvent) => void, failed: () => void): void {
    const { pattern, data, metadata } = event;
    this.read(
      { pattern, data, metadata },
      (given) => dispatch({ ...event, ...given, metadata: readMetadata(given.metadata) }),
      (error) => {
        failed();
        const err = this.fault('INVALID_ARGUMENT', 'deserializer', 'read the event', {
          call: { pattern },
          peer,
          error,
        });
        event.acknowledge?.call.fail(err);
      },
    );
  }

  private read(shown: Shown, use: (given: PlainRequest) => void, failed: (error: unknown) => void): void {
    let given: unknown;
    try {
      given = this.deserialize(shown);
      if (!isPromiseLike(given)) given = requestIn(given);
    } catch (error) {
      failed(error);
      return;
    }
    if (isPromiseLike(given)) given.then((value) => use(requestIn(value))).then(undefined, failed);
    else use(given as PlainRequest);
  }

  private deserialize(shown: Shown): unknown {
    const { deserializer } = this.codecs;
    // Without an id it is an event: the member must not even be there.
    return deserializer === undefined ? shown : deserializer.deserialize(shown, { channel: shown.pattern });
  }

  private async *each(items: AsyncIterable<unknown>, pattern: unknown): AsyncIterable<unknown> {
    for await (const data of items)
      yield requestIn(await this.deserialize({ pattern, data, metadata: undefined })).data;
  }

  /** What the other side is told; the log tells more. */
  private fault(
    code: 'INTERNAL' | 'INVALID_ARGUMENT',
    which: string,
    what: string,
    { call, peer, error }: { call: { readonly pattern: unknown }; peer: Peer; error: unknown },
  ): unknown {
    const errorId = randomUUID();
    this.logger.error(
      `errorId ${errorId}: ${callText(call.pattern, peer)}: the ${which} could not ${what}: ${describe(error)}`,
    );
    return new MeshError(code, `the ${which} of service '${this.service}' could not ${what}`, {
      delivery: code === 'INTERNAL' ? 'unknown' : 'refused',
      details: { errorId },
    }).toWire();
  }
}

function requestIn(given: unknown): PlainRequest {
  if (!isRecord(given) || given['pattern'] === undefined)
    throw new TypeError('the deserializer must give an object with a pattern');
  return { pattern: given['pattern'], data: given['data'], metadata: given['metadata'] };
}

function streamOf(data: unknown): AsyncIterable<unknown> | undefined {
  return typeof data === 'object' && data !== null && Symbol.asyncIterator in data
    ? (data as AsyncIterable<unknown>)
    : undefined;
}
