/** Which node is called: of all in turn, of the subset in turn, and by a key among all. */
import { Candidates, roundRobin, type RemoteNode } from './internals.js';
import { expectSame, type Piece } from './piece.js';

const SUBSET = 20;
const KEYS = Array.from({ length: 64 }, (_, n) => `order-${n}`);
const NO_KEY = {};

/** Each way, for services of several sizes. */
export const pickingPieces: readonly Piece[] = [1, 100, 1_000].flatMap((count) => {
  const nodes = Array.from({ length: count }, (_, n) => nodeOf(n));
  const size = count === 1 ? '1 node' : `${count.toLocaleString('en')} nodes`;
  const inTurn = roundRobin(nodes, undefined);
  const candidates = new Candidates({
    nodeId: 'client-0001',
    subsetSize: SUBSET,
    picker: roundRobin,
    slowStartMs: 0,
    zone: undefined,
  });
  for (const node of nodes) candidates.add(node);
  candidates.refresh();
  let turn = 0;
  const byKey = (): RemoteNode | undefined => {
    turn = (turn + 1) % KEYS.length;
    return candidates.pick({ key: KEYS[turn] });
  };
  const different = (pick: () => RemoteNode | undefined, times: number): number =>
    new Set(Array.from({ length: times }, () => pick()?.id)).size;
  const piece = (way: string, pick: () => RemoteNode | undefined, wanted: number): Piece => {
    const title = `pick ${way}, ${size}`;
    return {
      group: 'picking',
      title,
      run: pick,
      check: () => expectSame(title, different(pick, count), wanted),
    };
  };
  const sameKey = (): RemoteNode | undefined => candidates.pick({ key: 'order-1' });
  return [
    piece('in turn among all', () => inTurn.pick(NO_KEY), count),
    piece(`in turn among a subset of ${SUBSET}`, () => candidates.pick(NO_KEY), Math.min(count, SUBSET)),
    { ...piece('by key', sameKey, 1), run: byKey },
  ];
});

/** As much of a node as is looked at when it is picked. */
function nodeOf(n: number): RemoteNode {
  const id = `node-${String(n).padStart(4, '0')}`;
  const record = { id, service: 'orders', host: '10.0.0.7', port: 4_100 };
  const health = { admits: true, wantsTrial: false };
  return { id, record, available: true, isMember: true, weight: 1, health } as unknown as RemoteNode;
}
