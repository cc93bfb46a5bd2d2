/** The handlers of a contract: types to check a controller by, and Nest's decorators with them. */
import { EventPattern, MessagePattern } from '@nestjs/microservices';
import type { Observable } from 'rxjs';
import type {
  CallOf,
  CallPatterns,
  ChannelNameOf,
  EventOf,
  EventPatterns,
  MeshContract,
  PatternAt,
  RequestOf,
  ResponseOf,
  SectionOf as Section,
  ServedChannel,
} from './contract.js';
import type { MeshHandlerExtras } from './handler-extras.js';
import { ChannelPattern } from './mesh.decorators.js';
import type { MeshContext } from './mesh.context.js';

/** A method that handles a call: the data first, then perhaps the context. */
export type MeshCallHandler<C, P> = Handler<RequestOf<C, P>, MeshCallAnswer<C, P>>;

/** The same for a call with `input`, under the extra `input: 'observable'`. */
export type MeshObservableCallHandler<C, P> =
  CallOf<C, P> extends { readonly input: infer Item }
    ? Handler<Observable<Item>, MeshCallAnswer<C, P>>
    : Handler<Observable<RequestOf<C, P>>, MeshCallAnswer<C, P>>;

/** What a handler of a call may return. */
export type MeshCallAnswer<C, P> =
  CallOf<C, P> extends { readonly stream: infer Item }
    ? AsyncIterable<Item> | Observable<Item> | Promise<AsyncIterable<Item> | Observable<Item>>
    : ResponseOf<C, P> | Promise<ResponseOf<C, P>> | Observable<ResponseOf<C, P>>;

/** A method that handles an event; what it returns goes nowhere. */
export type MeshEventHandler<C, P> = Handler<EventOf<C, P>, unknown>;

/** A method that takes a raw channel. */
export type MeshChannelHandler<C, Name> = Handler<ServedChannel<C, Name>, unknown>;

/**
 * All handlers of a contract, each under its key: `class OrdersController implements MeshHandlers<OrdersContract>`. When they are
 * spread over several controllers, each takes its part: `implements Pick<MeshHandlers<OrdersContract>, 'orders.get'>`.
 */
export type MeshHandlers<C extends MeshContract> = {
  readonly [Key in keyof Section<C, 'calls'>]: AnyCallHandler<C, PatternAt<Section<C, 'calls'>, Key>>;
} & {
  readonly [Key in keyof Section<C, 'events'>]: MeshEventHandler<C, PatternAt<Section<C, 'events'>, Key>>;
} & { readonly [Name in ChannelNameOf<C>]: MeshChannelHandler<C, Name> };

/** Decorates methods of type `Method` alone. */
export type MeshHandlerDecorator<Method> = <Own extends Method>(
  target: object,
  key: string | symbol,
  descriptor: TypedPropertyDescriptor<Own>,
) => void;

/** Nest's decorators, for one contract: see {@link meshPatterns}. */
export interface MeshPatterns<C> {
  /** `@MessagePattern` for a call of the contract; what the caller streams is an AsyncIterable unless the extras say otherwise. */
  call<P extends CallPatterns<C>[keyof CallPatterns<C>]>(
    pattern: P,
    extras: HandlerExtras & { readonly input: 'observable' },
  ): MeshHandlerDecorator<MeshObservableCallHandler<C, P>>;
  call<P extends CallPatterns<C>[keyof CallPatterns<C>]>(
    pattern: P,
    extras?: HandlerExtras & { readonly input?: 'iterable' },
  ): MeshHandlerDecorator<MeshCallHandler<C, P>>;
  /** `@EventPattern` for an event of the contract. */
  event<P extends EventPatterns<C>[keyof EventPatterns<C>]>(
    pattern: P,
    extras?: HandlerExtras,
  ): MeshHandlerDecorator<MeshEventHandler<C, P>>;
  /** `@ChannelPattern` for a raw channel of the contract. */
  channel<Name extends ChannelNameOf<C>>(name: Name): MeshHandlerDecorator<MeshChannelHandler<C, Name>>;
}

/** The extras of a handler: those of the mesh, and any others that Nest's decorators take. */
type HandlerExtras = MeshHandlerExtras & Readonly<Record<string, unknown>>;

/**
 * Nest's decorators, checked by a contract: `const orders = meshPatterns<OrdersContract>()`, and then `@orders.call('orders.get')`
 * is `@MessagePattern('orders.get')` which does not compile over a method that takes other data or gives another answer. The
 * data is the first parameter of the method; where it is not, use Nest's decorators with `RequestOf` and `ResponseOf`.
 */
export function meshPatterns<C extends MeshContract>(): MeshPatterns<C> {
  return {
    call: (pattern, extras?: HandlerExtras) => MessagePattern(pattern, extras ?? {}),
    event: (pattern, extras = {}) => EventPattern(pattern, extras),
    channel: (name) => ChannelPattern(name),
  };
}

/** A stream of input may be taken in either form, which the extras of the handler choose. */
type AnyCallHandler<C, P> =
  CallOf<C, P> extends { readonly input: unknown }
    ? MeshCallHandler<C, P> | MeshObservableCallHandler<C, P>
    : MeshCallHandler<C, P>;

type Handler<Data, Returned> = (data: Data, context: MeshContext) => Returned;
