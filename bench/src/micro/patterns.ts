/** Which handler takes a message or an event, among so many patterns. */
import { DeadlineQueue, EventRoutes, MessageRoutes } from './internals.js';
import { expectSame, type Piece } from './piece.js';

const NONE = (): [] => [];

/** Messages and events by their very pattern, and events by wildcards. */
export const patternPieces: readonly Piece[] = [
  ...[10, 1_000].map(message),
  ...[10, 1_000].map((count) => event(count, false)),
  ...[10, 1_000].map((count) => event(count, true)),
];

function message(count: number): Piece {
  const routes = new MessageRoutes();
  const deadlines = new DeadlineQueue();
  for (let n = 0; n < count; n += 1) routes.add(`orders.${n}.read`, handler(), {}, deadlines);
  const wanted = `orders.${count - 1}.read`;
  const title = `find the handler of a message, ${patterns(count)}`;
  const find = (): unknown => routes.get(wanted);
  return {
    group: 'patterns',
    title,
    run: find,
    check: () => expectSame(title, find() !== undefined, true),
  };
}

/** With wildcards a fifth of the patterns has some, and two of those match. */
function event(count: number, wild: boolean): Piece {
  const routes = new EventRoutes();
  for (let n = 0; n < count; n += 1) {
    routes.add(wild && n % 5 === 0 ? `orders.${n}.*` : `orders.${n}.created`, handler());
  }
  if (wild) routes.add('orders.>', handler());
  const name = `orders.${count - 5}.created`;
  const title = `find the handlers of an event, ${patterns(count)}${wild ? ', wildcards among them' : ''}`;
  const find = (): readonly unknown[] => routes.matching(name, NONE);
  return {
    group: 'patterns',
    title,
    run: find,
    check: () => expectSame(title, find().length, wild ? 2 : 1),
  };
}

function patterns(count: number): string {
  return `${count.toLocaleString('en')} patterns`;
}

function handler(): () => Promise<void> {
  return () => Promise.resolve();
}
