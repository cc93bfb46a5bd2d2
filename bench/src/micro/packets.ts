/** Packets: from an object to the payload of a frame, and from a payload to an object whose kind is known. */
import { JSON_CODEC, packetKind } from './internals.js';
import { messageOf } from '../peers/peer.js';
import { expectSame, type Piece } from './piece.js';

const ID = 123_456;
const SIZES = [
  [100, '100 B'],
  [10_000, '10 KB'],
] as const;

/** Each kind of packet of the hot path, at each size of its data. */
export const packetPieces: readonly Piece[] = SIZES.flatMap(([bytes, size]) => {
  const data = messageOf(bytes);
  return [
    ...both(`a request, ${size}`, 'request', { id: ID, pattern: 'echo', data, timeout: 30_000 }),
    ...both(`a response, ${size}`, 'response', { id: ID, response: data, isDisposed: true }),
    ...both(`an event, ${size}`, 'event', { pattern: 'seen', data }),
  ];
});

function both(what: string, kind: string, packet: object): Piece[] {
  const payload = Buffer.from(JSON_CODEC.encode(packet) as string);
  const decode = (): [unknown, unknown] => {
    const value = JSON_CODEC.decode(payload);
    return [packetKind(value), value];
  };
  return [
    {
      group: 'packets',
      title: `encode ${what}`,
      run: () => JSON_CODEC.encode(packet),
      check: () => expectSame(what, JSON_CODEC.encode(packet), JSON.stringify(packet)),
    },
    {
      group: 'packets',
      title: `decode ${what}`,
      run: decode,
      check: () => expectSame(what, decode(), [kind, packet]),
    },
  ];
}
