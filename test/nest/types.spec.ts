/** Types: what compiles for a user of Nest's `ClientProxy` compiles here. `npm run types` is the test of most of it. */
import { describe, expect, it } from '@jest/globals';
import {
  ClientsModule,
  type ClientProxy,
  type CustomTransportStrategy,
  type Server,
} from '@nestjs/microservices';
import { randomUUID } from 'node:crypto';
import { firstValueFrom, of, type Observable } from 'rxjs';
import {
  MeshChannel,
  MeshClientProxy,
  MeshModule,
  MeshNode,
  MeshRecordBuilder,
  MeshServer,
  type MeshError,
  type MeshEvents,
  type MeshPeer,
  type MeshRecord,
  type MeshStatus,
  type PeerStatus,
} from '../../lib/index.js';
import { useBench } from './nest-fixture.js';

/** Fails to compile unless both types are the same. */
function same<A, B>(..._proof: [A] extends [B] ? ([B] extends [A] ? [] : [never]) : [never]): void {}

describe('the types of the client', () => {
  const bench = useBench();

  it('infer and take generics as ClientProxy does', () => {
    const client = bench.client({ registry: `memory:${randomUUID()}`, to: 'service' });
    const typed = client.send<number>('sum', [1, 2]);
    same<typeof typed, Observable<number>>();
    const both = client.send<number, { a: string }>({ cmd: 'sum' }, { a: 'x' });
    same<typeof both, Observable<number>>();
    const emit = () => client.emit<void, string>('note', 'x');
    same<ReturnType<typeof emit>, Observable<void>>();
    // What the caller expects is inferred, as it is for Nest's `any`.
    const inferred: Observable<string> = client.send('echo', {});
    const awaited = async (): Promise<number> => firstValueFrom(client.send('echo', 1));
    const called = client.call<{ total: number }>('sum', []);
    same<typeof called, Promise<{ total: number }>>();
    const streamed = client.stream<number>('numbers', {});
    same<typeof streamed, AsyncIterable<number>>();
    const channel = (): Promise<MeshChannel<number, string>> => client.channel<number, string>('c');
    const status: Observable<MeshStatus> = client.status;
    const node: MeshNode = client.unwrap();
    expect([inferred, awaited, emit, channel, status, node].every((each) => each !== undefined)).toBe(true);
    void called.catch(() => undefined);
  });

  it('refuse the wrong types', () => {
    const client = bench.client({ registry: `memory:${randomUUID()}`, to: 'service' });
    // @ts-expect-error -- the data is not of the type that was given
    client.send<number, { a: string }>('sum', { a: 1 });
    // @ts-expect-error -- there is no such event
    expect(() => client.on('connect', () => undefined)).toThrow('connect');
    // @ts-expect-error -- what a listener gets is that of its event
    client.on('status', (status: number) => status);
    // @ts-expect-error -- only peerUnreachable and peerLost have a reason
    client.on('peerConnected', (peer: MeshPeer, reason: MeshError) => [peer, reason]);
    // @ts-expect-error -- the service is required
    expect(() => new MeshServer({ registry: 'memory:x' })).toThrow('service');
    // @ts-expect-error -- metadata is strings
    expect(() => new MeshRecordBuilder(1).setMetadata({ n: 1 })).toThrow('metadata.n');
  });

  it('tell listeners what their event is about', () => {
    const registry = `memory:${randomUUID()}`;
    const client = bench.client({ registry, to: 'service' });
    const server = new MeshServer({ service: 'service', registry });
    const node: MeshNode = client.unwrap();
    for (const source of [client, server]) {
      source.on('status', (status) => same<typeof status, MeshStatus>());
      source.on('peerConnected', (peer) => same<typeof peer, MeshPeer>());
      source.on('peerDraining', (peer) => same<typeof peer, MeshPeer>());
      source.on('peerUnreachable', (_peer, error) => same<typeof error, MeshError>());
      source.on('peerLost', (_peer, reason) => same<typeof reason, MeshError | undefined>());
    }
    const stop: () => void = node.on('peerLost', (peer, reason) => {
      same<typeof peer, MeshPeer>();
      same<typeof reason, MeshError | undefined>();
    });
    same<keyof MeshEvents, 'status' | 'peerConnected' | 'peerUnreachable' | 'peerDraining' | 'peerLost'>();
    const peers: readonly PeerStatus[] = client.peers;
    stop();
    expect(peers).toEqual([]);
  });

  it('fit where Nest asks for a client, a server or a strategy', () => {
    const client: ClientProxy = bench.client({ registry: `memory:${randomUUID()}`, to: 'service' });
    const server = new MeshServer({ service: 'service', registry: `memory:${randomUUID()}` });
    const strategy: CustomTransportStrategy = server;
    const base: Pick<Server, 'addHandler' | 'getHandlers'> = server;
    const module = ClientsModule.register([
      {
        name: 'ORDERS',
        customClass: MeshClientProxy,
        options: { service: 'caller', registry: 'memory:types' },
      },
    ]);
    const async = MeshModule.forRootAsync({
      inject: ['CONFIG'],
      useFactory: (config: { service: string }) => ({ service: config.service }),
    });
    const record: MeshRecord<{ a: number } | undefined> = new MeshRecordBuilder({ a: 1 }).build();
    expect([client, strategy, base, module, async, record, of(1)]).toHaveLength(7);
  });
});
