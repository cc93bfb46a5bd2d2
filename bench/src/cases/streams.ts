/** Events, streams one way, and a channel both ways: work for each item, counted at the receiver. */
import { itemOf, messageOf, type Client, type Item } from '../peers/peer.js';
import { monotonicMs } from '../program/protocol.js';
import type { Case, DriveArgs, Driven } from './case.js';
import { measureArrivals } from './measure.js';

/** How many `emit` of one client are under way at once. */
const EMITTERS = 128;
/** A whole stream takes a small part of the window, and opening it counts for little. */
const ITEMS_FOR_EACH_MS = 20;
const MAX_ITEMS = 20_000;
const CHECKED_ITEMS = 300;

export const events: Case = {
  name: 'events-100b',
  title: 'Events, 100 B',
  group: 'streams',
  unit: 'events/s',
  ability: 'emit',
  quick: true,
  drive: driveEvents,
  measure: (pair, limits) => measureArrivals(events, pair, limits),
};

export const response: Case = {
  name: 'stream-64b',
  title: 'Response stream, items of 64 B',
  group: 'streams',
  unit: 'items/s',
  ability: 'stream',
  quick: true,
  check: (client) => checked((take) => given(client.stream)(CHECKED_ITEMS, take)),
  drive: (client, args) => repeated(args, (items, take) => given(client.stream)(items, take)),
};

const request: Case = {
  name: 'upload-64b',
  title: 'Request stream, items of 64 B',
  group: 'streams',
  unit: 'items/s',
  ability: 'upload',
  baseline: 'nest-grpc',
  check: (client) => upload(client, CHECKED_ITEMS),
  drive: (client, args) =>
    repeated(args, async (items, take) => {
      await upload(client, items);
      for (let n = 0; n < items; n += 1) take();
    }),
};

const channel: Case = {
  name: 'channel-64b',
  title: 'Raw channel, both ways at once, items of 64 B',
  group: 'streams',
  unit: 'items/s each way',
  ability: 'duplex',
  baseline: 'floor-http2',
  quick: true,
  check: (client) => checked((take) => given(client.duplex)(CHECKED_ITEMS, take)),
  drive: (client, args) => repeated(args, (items, take) => given(client.duplex)(items, take)),
};

export const streamCases: readonly Case[] = [events, response, request, channel];

async function driveEvents(client: Client, { windowMs }: DriveArgs): Promise<Driven> {
  const emit = given(client.emit);
  const message = messageOf(100);
  const startedAtMs = monotonicMs();
  const start = performance.now();
  const end = start + windowMs;
  let count = 0;
  const chain = async (): Promise<void> => {
    while (performance.now() < end) {
      await emit(message);
      count += 1;
      // A client that is never made to wait would otherwise keep its own sockets from being written.
      if (count % EMITTERS === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  };
  await Promise.all(Array.from({ length: EMITTERS }, chain));
  return { count, elapsedMs: performance.now() - start, startedAtMs };
}

/** One stream after the other until the time is over; throws when one is short. */
async function repeated(
  { windowMs }: DriveArgs,
  act: (items: number, take: (item?: Item) => void) => Promise<void>,
): Promise<Driven> {
  const items = Math.min(MAX_ITEMS, Math.ceil(windowMs * ITEMS_FOR_EACH_MS));
  const startedAtMs = monotonicMs();
  const start = performance.now();
  let taken = 0;
  let wanted = 0;
  const take = (): void => void (taken += 1);
  while (performance.now() - start < windowMs) {
    await act(items, take);
    wanted += items;
    if (taken !== wanted) throw new Error(`${taken - wanted + items} of ${items} items came`);
  }
  return { count: taken, elapsedMs: performance.now() - start, startedAtMs };
}

async function checked(act: (take: (item: Item) => void) => Promise<void>): Promise<void> {
  let next = 0;
  await act((item) => {
    const { n, text } = itemOf(next);
    if (item.n !== n || item.text !== text) throw new Error(`item ${n} is ${JSON.stringify(item)}`);
    next += 1;
  });
  if (next !== CHECKED_ITEMS) throw new Error(`${next} of ${CHECKED_ITEMS} items came`);
}

async function upload(client: Client, items: number): Promise<void> {
  const total = await given(client.upload)(itemsOf(items));
  const sum = (items * (items - 1)) / 2;
  if (total.count !== items || total.sum !== sum) {
    throw new Error(`${items} items with the sum ${sum} were taken for ${JSON.stringify(total)}`);
  }
}

function* itemsOf(count: number): Iterable<Item> {
  for (let n = 0; n < count; n += 1) yield itemOf(n);
}

function given<T>(ability: T | undefined): T {
  if (ability === undefined) throw new Error('this peer cannot do that');
  return ability;
}
