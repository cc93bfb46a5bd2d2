/** What a peer is: something that carries calls between two processes, measured beside the others. */
import type { Json, Received, Surroundings } from '../program/protocol.js';

/** The data of calls and events. {@link messageOf} makes one of an exact size. */
export interface Message {
  readonly id: number;
  readonly text: string;
}

/** One value of a stream or channel; 64 bytes as JSON. {@link itemOf} makes one. */
export interface Item {
  readonly n: number;
  readonly text: string;
}

/** What a server answers to a request stream: how many items came, and the sum of their `n`. */
export interface Total {
  readonly count: number;
  readonly sum: number;
}

/** A connected client. Each member that is there is an ability; what a peer cannot do is left out. */
export interface Client {
  /** Calls `echo`, which answers the very message. */
  readonly call?: (message: Message) => Promise<Message>;
  /** Emits `seen`, which the server counts. Resolves when the peer's own client says that it is handed over. */
  readonly emit?: (message: Message) => Promise<unknown>;
  /** Calls `items`, which answers `itemOf(0)` … `itemOf(count - 1)`; resolves at the end of the stream. */
  readonly stream?: (count: number, take: (item: Item) => void) => Promise<void>;
  /** Calls `total` with a stream of items. */
  readonly upload?: (items: Iterable<Item>) => Promise<Total>;
  /** Opens a channel on which both sides send `count` items at once; resolves when all have come and the channel is closed. */
  readonly duplex?: (count: number, take: (item: Item) => void) => Promise<void>;
  /** Releases everything. */
  readonly close: () => Promise<void>;
}

/** The names of what a client may be able to do. */
export type Ability = Exclude<keyof Client, 'close'>;

/** A running server. */
export interface Serving {
  /** What a client needs to find it. */
  readonly address: Json;
  /** The events that it has counted. */
  readonly received?: () => Received;
  readonly close: () => Promise<void>;
}

/** What a module under `peers/` exports: both sides, for the process that plays one of them. */
export interface PeerModule {
  serve(surroundings: Surroundings): Promise<Serving>;
  connect(surroundings: Surroundings): Promise<Client>;
}

/** The program of one side: a module under `peers/`, by name, or a file under `bench/python/`. */
export type Side =
  { readonly kind: 'node'; readonly module: string } | { readonly kind: 'python'; readonly file: string };

/** A peer, as `peers/index.ts` lists it. No code of the peer itself, so that processes load only what they play. */
export interface Peer {
  readonly name: string;
  /** For tables and plots. */
  readonly label: string;
  readonly server: Side;
  readonly client: Side;
  readonly settings?: Json;
  /** The servers beside it that it cannot do without. */
  readonly needs?: readonly ServerName[];
  /** What it cannot do: the word that stands in the table where the number would. */
  readonly unable?: { readonly [ability in Ability]?: string };
  /** False: it is only in cases that name it. @default true */
  readonly general?: boolean;
}

/** Servers that the bench starts for the peers that need them. */
export type ServerName = 'redis' | 'nats';

/** A message that is exactly `bytes` long as JSON. */
export function messageOf(bytes: number, id = 0): Message {
  const empty = JSON.stringify({ id, text: '' }).length;
  return { id, text: 'abcdefghij'.repeat(Math.ceil(bytes / 10)).slice(0, bytes - empty) };
}

const ITEM_BYTES = 64;
const ITEM_TEXT = 'abcdefghij'.repeat(7);

/** The n-th item of a stream: 64 bytes as JSON. */
export function itemOf(n: number): Item {
  return { n, text: ITEM_TEXT.slice(0, ITEM_BYTES - '{"n":,"text":""}'.length - String(n).length) };
}
