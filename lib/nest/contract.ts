/** Contracts: the calls, events and raw channels of a service as one interface, which it shares with its callers. */
import type { Observable } from 'rxjs';
import type { MeshChannel } from './mesh.channel.js';

/**
 * What a contract may hold. It describes the service: what comes into it, and what it gives.
 *
 * ```ts
 * export interface OrdersContract {
 *   calls: {
 *     'orders.get': { request: string; response: Order };
 *     'orders.watch': { request: Filter; stream: Order };
 *     'orders.import': { input: Row; response: Report };
 *     total: MeshPattern<{ cmd: 'total' }, { request: number[]; response: number }>;
 *   };
 *   events: { 'payment.settled': Settled };
 *   channels: { telemetry: { in: Sample; out: Ack } };
 * }
 * ```
 *
 * A call has `request` (one value) or `input` (many), and `response` (one value) or `stream` (many). Without `request` its data
 * is `{}`; without `response` its handler gives nothing. The default channel has the name `default`.
 */
export interface MeshContract {
  readonly calls?: object;
  readonly events?: object;
  readonly channels?: object;
}

/** The contract of a client whose patterns, data and answers are not checked: Nest's own signatures hold. */
// oxlint-disable-next-line typescript/no-explicit-any -- clients with and without a contract must fit where the other is asked for
export type AnyContract = any;

declare const PATTERN: unique symbol;

/** A call or an event of a contract whose pattern is no text: `total: MeshPattern<{ cmd: 'total' }, { … }>`. */
export interface MeshPattern<Pattern, Entry> {
  readonly [PATTERN]: readonly [Pattern, Entry];
}

/** The patterns of the calls of a contract, by their keys. */
export type CallPatterns<C> = PatternsIn<SectionOf<C, 'calls'>>;
/** The patterns of its calls that are answered by a stream. */
export type StreamPatterns<C> = PatternsIn<Streaming<SectionOf<C, 'calls'>>>;
/** The patterns of its calls that are answered by one value, or by none. */
export type UnaryPatterns<C> = PatternsIn<Unary<SectionOf<C, 'calls'>>>;
/** The patterns of the events of a contract. */
export type EventPatterns<C> = PatternsIn<SectionOf<C, 'events'>>;
/** The names of the raw channels of a contract. */
export type ChannelNameOf<C> = keyof SectionOf<C, 'channels'> & string;

/** What the handler of a call gets: the data, or an AsyncIterable of what the caller streams. */
export type RequestOf<C, P> = Arriving<CallOf<C, P>>;
/** What a call is answered with: the one value, or each value of the stream. */
export type ResponseOf<C, P> = Answer<CallOf<C, P>>;
/** The data of an event. */
export type EventOf<C, P> = EntryOf<SectionOf<C, 'events'>, P>;
/** The entry of a call: `{ request, response }` and so on. */
export type CallOf<C, P> = EntryOf<SectionOf<C, 'calls'>, P>;

/** What a caller gives for a call: the data, or an AsyncIterable or Observable of what it streams. */
export type GivenOf<C, P> = Leaving<CallOf<C, P>>;

/** A channel as the service has it. */
export type ServedChannel<C, Name> =
  ChannelOf<C, Name> extends { readonly in: infer In; readonly out: infer Out }
    ? MeshChannel<In, Out>
    : never;
/** The same channel as the caller has it. */
export type OpenedChannel<C, Name> =
  ChannelOf<C, Name> extends { readonly in: infer In; readonly out: infer Out }
    ? MeshChannel<Out, In>
    : never;

/**
 * `Type` for a client without a contract, `never` for one with a contract. A client that is asked for by its class, as in
 * `app.get(MeshClientProxy)`, has {@link MeshContract} itself, and so none.
 */
// oxlint-disable-next-line typescript/no-explicit-any -- the patterns of Nest's own signatures
export type Untyped<C, Type = any> = MeshContract extends C ? Type : never;
/** What `channel()` takes in the place of a name, when the contract has a default channel. */
export type DefaultChannel<C> = 'default' extends ChannelNameOf<C> ? void | undefined : never;

// --- how they are found

type IsAny<T> = 0 extends 1 & T ? true : false;

/** The calls, events or channels of a contract; none for a client without one. */
export type SectionOf<C, Name extends keyof MeshContract> =
  IsAny<C> extends true ? object : C extends { readonly [N in Name]: infer Section } ? Section : object;

type ChannelOf<C, Name> = Name extends keyof SectionOf<C, 'channels'>
  ? SectionOf<C, 'channels'>[Name]
  : never;

/** True for an entry with a pattern of its own; data of any kind is none. */
type HasPattern<Entry> =
  IsAny<Entry> extends true
    ? false
    : [Entry] extends [never]
      ? false
      : [Entry] extends [MeshPattern<unknown, unknown>]
        ? true
        : false;

/** The pattern of an entry: its own, or its key. */
export type PatternAt<Section, Key extends keyof Section> =
  HasPattern<Section[Key]> extends true ? OwnPattern<Section[Key]> : Key;

// An object and not yet the union of its values, which errors would call by the name of its alias instead of listing it.
type PatternsIn<Section> = { readonly [Key in keyof Section]-?: PatternAt<Section, Key> };

type OwnPattern<Entry> = Entry extends MeshPattern<infer Pattern, unknown> ? Pattern : never;
type OwnEntry<Entry> = Entry extends MeshPattern<unknown, infer Inner> ? Inner : Entry;

// A text is looked up by itself, so that large contracts cost no more than small ones.
type EntryOf<Section, P> = P extends keyof Section
  ? HasPattern<Section[P]> extends true
    ? never
    : Section[P]
  : {
      [Key in keyof Section]: HasPattern<Section[Key]> extends true
        ? P extends OwnPattern<Section[Key]>
          ? OwnEntry<Section[Key]>
          : never
        : never;
    }[keyof Section];

type IsStream<Entry> = OwnEntry<Entry> extends { readonly stream: unknown } ? true : false;
type Streaming<Section> = {
  [Key in keyof Section as IsStream<Section[Key]> extends true ? Key : never]: Section[Key];
};
type Unary<Section> = {
  [Key in keyof Section as IsStream<Section[Key]> extends true ? never : Key]: Section[Key];
};

type Arriving<Call> = Call extends { readonly input: infer Item } ? AsyncIterable<Item> : OneRequest<Call>;
type Leaving<Call> = Call extends { readonly input: infer Item }
  ? AsyncIterable<Item> | Observable<Item>
  : OneRequest<Call>;
type OneRequest<Call> = Call extends { readonly request: infer Request } ? Request : Record<string, never>;

type Answer<Call> = Call extends { readonly stream: infer Item }
  ? Item
  : Call extends { readonly response: infer Response }
    ? Response
    : void;
