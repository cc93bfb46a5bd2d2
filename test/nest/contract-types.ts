/** Compiled, never run: what a contract lets through, and, line by line, what it refuses. */
import type { ClientProxy } from '@nestjs/microservices';
import { Observable, of } from 'rxjs';
import {
  meshPatterns,
  MeshRecordBuilder,
  type MeshChannel,
  type MeshClientProxy,
  type MeshContext,
  type MeshContract,
  type MeshHandlers,
  type MeshPattern,
  type PublishReceipt,
  type RequestOf,
  type ResponseOf,
} from '../../lib/index.js';

interface Order {
  id: string;
  total: number;
}
interface Row {
  name: string;
}
interface Sample {
  at: number;
}
interface Ack {
  seen: number;
}

export interface OrdersContract {
  calls: {
    'orders.get': { request: string; response: Order };
    'orders.watch': { request: { since: number }; stream: Order };
    'orders.import': { input: Row; response: { rows: number } };
    'orders.mirror': { input: Row; stream: Row };
    'orders.count': { response: number };
    'orders.forget': { request: string };
    total: MeshPattern<{ cmd: 'total' }, { request: number[]; response: number }>;
  };
  events: {
    'order.paid': { id: string };
    'order.note': unknown;
    [audit: `audit.${string}`]: { by: string };
    archived: MeshPattern<{ topic: 'archived' }, { ids: string[] }>;
  };
  channels: { telemetry: { in: Sample; out: Ack }; default: { in: string; out: string } };
}

interface BillingContract {
  calls: { 'billing.tax': { request: number; response: number } };
}

/** Compiles only when both types are the same. */
function same<A, B>(..._proof: [A] extends [B] ? ([B] extends [A] ? [] : [never]) : [never]): void {}

declare const orders: MeshClientProxy<OrdersContract>;
declare const billing: MeshClientProxy<BillingContract>;
declare const untyped: MeshClientProxy;
declare const order: Order;
async function* rows(): AsyncGenerator<Row> {
  yield { name: 'a' };
}

export async function send(): Promise<void> {
  const got = orders.send('orders.get', '7');
  same<typeof got, Observable<Order>>();
  const watched = orders.send('orders.watch', { since: 1 });
  same<typeof watched, Observable<Order>>();
  const total = orders.send({ cmd: 'total' }, [1, 2]);
  same<typeof total, Observable<number>>();
  orders.send('orders.import', of({ name: 'a' }));
  orders.send('orders.import', rows());
  orders.send('orders.get', new MeshRecordBuilder('7').setTimeout(500).setKey('7').build());
  // @ts-expect-error -- there is no such call
  orders.send('orders.gt', '7');
  // @ts-expect-error -- an event is no call
  orders.send('order.paid', { id: '7' });
  // @ts-expect-error -- the key of a pattern that is an object is no pattern
  orders.send('total', [1]);
  // @ts-expect-error -- there is no such object pattern
  orders.send({ cmd: 'totl' }, [1]);
  // @ts-expect-error -- the data is a text
  orders.send('orders.get', 7);
  // @ts-expect-error -- the data of an object pattern is an array of numbers
  orders.send({ cmd: 'total' }, ['1']);
  // @ts-expect-error -- a record of the wrong data
  orders.send('orders.get', new MeshRecordBuilder(7).build());
  // @ts-expect-error -- a record without data
  orders.send('orders.get', new MeshRecordBuilder().build());
  // @ts-expect-error -- a member that is missing
  orders.send('orders.watch', {});
  // @ts-expect-error -- a member too many
  orders.send('orders.watch', { since: 1, until: 2 });
  // @ts-expect-error -- one value where a stream is asked for
  orders.send('orders.import', { name: 'a' });
  // @ts-expect-error -- a stream of other values
  orders.send('orders.import', of({ title: 'a' }));
  // @ts-expect-error -- a stream where one value is asked for
  orders.send('orders.get', of('7'));
  // @ts-expect-error -- the answer is an Order
  const wrong: Observable<string> = orders.send('orders.get', '7');
  // @ts-expect-error -- the type of the answer is the contract's
  orders.send<string>('orders.get', '7');
  // @ts-expect-error -- an Order has no such member
  got.subscribe(({ price }) => price);
  void wrong;
}

export async function call(): Promise<void> {
  const got = await orders.call('orders.get', '7');
  same<typeof got, Order>();
  const imported = await orders.call('orders.import', rows());
  same<typeof imported, { rows: number }>();
  same<number, Awaited<ReturnType<typeof count>>>();
  const count = async () => orders.call('orders.count', {});
  // @ts-expect-error -- there is no such call
  await orders.call('orders.gt', '7');
  // @ts-expect-error -- the data is a text
  await orders.call('orders.get', { id: '7' });
  // @ts-expect-error -- a call without a request takes {}
  await orders.call('orders.count', { since: 1 });
  // @ts-expect-error -- a stream is more than one value: use stream()
  await orders.call('orders.watch', { since: 1 });
  // @ts-expect-error -- an Order has no such member
  void got.price;
  const forgotten = await orders.call('orders.forget', '7');
  // @ts-expect-error -- the call is answered by nothing
  void forgotten.id;
}

export async function stream(): Promise<void> {
  for await (const watched of orders.stream('orders.watch', { since: 1 })) {
    same<typeof watched, Order>();
    // @ts-expect-error -- an Order has no such member
    void watched.price;
  }
  for await (const row of orders.stream('orders.mirror', rows())) same<typeof row, Row>();
  // @ts-expect-error -- there is no such call
  orders.stream('orders.wtch', { since: 1 });
  // @ts-expect-error -- the data is another
  orders.stream('orders.watch', { since: '1' });
  // @ts-expect-error -- the call is answered by one value
  orders.stream('orders.get', '7');
}

export async function events(): Promise<void> {
  same<Observable<void>, ReturnType<typeof emitted>>();
  const emitted = () => orders.emit('order.paid', { id: '7' });
  orders.emit({ topic: 'archived' }, { ids: [] });
  orders.emit('order.note', 7);
  orders.emit('order.paid', new MeshRecordBuilder({ id: '7' }).build());
  orders.emit('audit.login', { by: 'a' });
  // @ts-expect-error -- the data of the events of a template is another
  orders.emit('audit.login', { id: '7' });
  // @ts-expect-error -- there is no such event
  orders.emit('order.pad', { id: '7' });
  // @ts-expect-error -- a call is no event
  orders.emit('orders.get', '7');
  // @ts-expect-error -- the data is another
  orders.emit('order.paid', { id: 7 });
  // @ts-expect-error -- a record of the wrong data
  orders.emit('order.paid', new MeshRecordBuilder({ id: 7 }).build());
  // @ts-expect-error -- the contract has no events at all
  billing.emit('order.paid', { id: '7' });
  same<Promise<string[]>, ReturnType<typeof everywhere>>();
  const everywhere = () => orders.broadcast('order.paid', { id: '7' });
  // @ts-expect-error -- there is no such event
  await orders.broadcast('order.pad', { id: '7' });
  const published = await orders.publish({ topic: 'archived' }, { ids: [] });
  same<typeof published, PublishReceipt[]>();
  // @ts-expect-error -- there is no such event
  void orders.publish('order.pad', { id: '7' });
  // @ts-expect-error -- the data is another
  void orders.publish('order.paid', { id: 7 });
  // @ts-expect-error -- the data is another
  await orders.broadcast({ topic: 'archived' }, { ids: 7 });
}

export async function channels(): Promise<void> {
  const telemetry = await orders.channel('telemetry', { sessionId: 's' });
  same<typeof telemetry, MeshChannel<Ack, Sample>>();
  await telemetry.send({ at: 1 });
  const byDefault = await orders.channel();
  same<typeof byDefault, MeshChannel<string, string>>();
  // @ts-expect-error -- what the service sends is not what it takes
  await telemetry.send({ seen: 1 });
  // @ts-expect-error -- there is no such channel
  await orders.channel('telemetri');
  // @ts-expect-error -- the contract has no default channel
  await billing.channel();
  // @ts-expect-error -- an Ack has no such member
  for await (const { at } of telemetry) void at;
}

export function targets(): void {
  const tax = orders.to<BillingContract>('billing').call('billing.tax', 1);
  same<typeof tax, Promise<number>>();
  same<typeof kept, MeshClientProxy<OrdersContract>>();
  const kept = orders.to({ service: 'orders', key: '7' }).with({ timeoutMs: 500 });
  same<ReturnType<typeof part>, MeshClientProxy<OrdersContract>>();
  const part = (context: MeshContext) => orders.with(context);
  // @ts-expect-error -- to() without a contract keeps the one there is
  void orders.to('billing').call('billing.tax', 1);
  // @ts-expect-error -- the other contract holds instead of the first
  void orders.to<BillingContract>('billing').call('orders.get', '7');
  // @ts-expect-error -- no contract has such members
  void orders.to<{ call: object }>('billing');
}

export function assignments(): void {
  const nest: ClientProxy[] = [orders, billing, untyped];
  const open: MeshClientProxy[] = [orders, billing];
  const injected: MeshClientProxy<OrdersContract> = untyped;
  const calls = <Own extends MeshContract>(client: MeshClientProxy<Own>): MeshClientProxy<Own> => client;
  same<typeof through, MeshClientProxy<OrdersContract>>();
  const through = calls(orders);
  // @ts-expect-error -- another contract
  const other: MeshClientProxy<BillingContract> = orders;
  void [nest, open, injected, other];
}

export async function withoutContract(): Promise<void> {
  const inferred: Observable<Order> = untyped.send({ any: 'pattern' }, { any: 'data' });
  const given = untyped.send<Order, string>('orders.get', '7');
  same<typeof given, Observable<Order>>();
  const called = await untyped.call<Order>('orders.get', '7');
  same<typeof called, Order>();
  const channel = await untyped.channel<Ack, Sample>();
  same<typeof channel, MeshChannel<Ack, Sample>>();
  untyped.emit<void>('anything', 7);
  await untyped.broadcast('anything', 7);
  await untyped.publish('anything', 7);
  void inferred;
}

const pattern = meshPatterns<OrdersContract>();

export class RightController {
  @pattern.call('orders.get', { timeoutMs: 500 })
  async get(_id: string, _context: MeshContext): Promise<Order> {
    return order;
  }

  @pattern.call('orders.watch')
  async *watch({ since }: { since: number }): AsyncGenerator<Order> {
    if (since > 0) yield order;
  }

  @pattern.call('orders.import')
  async import(input: AsyncIterable<Row>): Promise<{ rows: number }> {
    let count = 0;
    for await (const _ of input) count += 1;
    return { rows: count };
  }

  @pattern.call('orders.mirror', { input: 'observable' })
  mirror(input: Observable<Row>): Observable<Row> {
    return input;
  }

  @pattern.call('orders.count')
  count(): number {
    return 1;
  }

  @pattern.call({ cmd: 'total' })
  total(prices: number[]): Observable<number> {
    return of(prices.length);
  }

  @pattern.event('order.paid')
  paid(_data: { id: string }): void {}

  @pattern.event({ topic: 'archived' })
  async archived({ ids }: { ids: string[] }): Promise<number> {
    return ids.length;
  }

  @pattern.channel('telemetry')
  async telemetry(channel: MeshChannel<Sample, Ack>): Promise<void> {
    for await (const { at } of channel) await channel.send({ seen: at });
  }
}

export class WrongController {
  // @ts-expect-error -- a timeout is a number
  @pattern.call('orders.count', { timeoutMs: '500' })
  count(): number {
    return 1;
  }

  // @ts-expect-error -- the data is a text
  @pattern.call('orders.get')
  get(_id: number): Order {
    return order;
  }

  // @ts-expect-error -- the answer is an Order
  @pattern.call('orders.get')
  async answer(_id: string): Promise<string> {
    return '';
  }

  // @ts-expect-error -- the answer is a stream
  @pattern.call('orders.watch')
  watch(_filter: { since: number }): Order {
    return order;
  }

  // @ts-expect-error -- the data is a stream
  @pattern.call('orders.import')
  import(_row: Row): { rows: number } {
    return { rows: 0 };
  }

  // @ts-expect-error -- an Observable must be asked for
  @pattern.call('orders.mirror')
  mirror(input: Observable<Row>): Observable<Row> {
    return input;
  }

  // @ts-expect-error -- there is no such call
  @pattern.call('orders.gt')
  missing(_id: string): Order {
    return order;
  }

  // @ts-expect-error -- the data is another
  @pattern.event('order.paid')
  paid(_id: string): void {}

  // @ts-expect-error -- in is what comes in
  @pattern.channel('telemetry')
  telemetry(_channel: MeshChannel<Ack, Sample>): void {}
}

interface PaymentsContract {
  calls: { settle: { request: string; response: Order }; refund: { request: string } };
  events: { opened: { id: string } };
}

export class RightPayments implements MeshHandlers<PaymentsContract> {
  settle(_id: string): Order {
    return order;
  }
  async refund(_id: string): Promise<void> {}
  opened(_data: { id: string }): void {}
}

// @ts-expect-error -- refund is missing
export class PartOfPayments implements MeshHandlers<PaymentsContract> {
  settle(_id: string): Order {
    return order;
  }
  opened(_data: { id: string }): void {}
}

export class WrongPayments implements Pick<MeshHandlers<PaymentsContract>, 'settle'> {
  // @ts-expect-error -- the answer is an Order
  settle(_id: string): string {
    return '';
  }
}

export class ByHand {
  get(_id: RequestOf<OrdersContract, 'orders.get'>): ResponseOf<OrdersContract, 'orders.get'> {
    return order;
  }
}

same<RequestOf<OrdersContract, 'orders.import'>, AsyncIterable<Row>>();
same<ResponseOf<OrdersContract, 'orders.watch'>, Order>();
same<RequestOf<OrdersContract, { cmd: 'total' }>, number[]>();
