/** Nest's gRPC transport, with handlers and a client from `proto/bench.proto`. */
import 'reflect-metadata';
import { join } from 'node:path';
import { Metadata } from '@grpc/grpc-js';
import { Controller } from '@nestjs/common';
import {
  ClientProxyFactory,
  GrpcMethod,
  GrpcStreamMethod,
  Transport,
  type ClientGrpcProxy,
  type GrpcOptions,
} from '@nestjs/microservices';
import { from, lastValueFrom, map, range, reduce, type Observable } from 'rxjs';
import type { Surroundings } from '../program/protocol.js';
import { freePort } from '../servers/free-port.js';
import { taken } from './nest-client.js';
import { serveNest } from './nest-server.js';
import { itemOf, type Client, type Item, type Message, type Serving, type Total } from './peer.js';

interface BenchService {
  echo(message: Message): Observable<Message>;
  items(count: { count: number }): Observable<Item>;
  total(items: Observable<Item>): Observable<Total>;
  exchange(items: Observable<Item>, metadata: Metadata): Observable<Item>;
}

@Controller()
class GrpcController {
  @GrpcMethod('Bench', 'Echo')
  echo(message: Message): Message {
    return message;
  }

  @GrpcMethod('Bench', 'Items')
  items({ count }: { count: number }): Observable<Item> {
    return range(0, count).pipe(map(itemOf));
  }

  @GrpcStreamMethod('Bench', 'Total')
  total(items: Observable<Item>): Observable<Total> {
    return items.pipe(
      reduce(({ count, sum }, { n }) => ({ count: count + 1, sum: sum + n }), { count: 0, sum: 0 }),
    );
  }

  @GrpcStreamMethod('Bench', 'Exchange')
  exchange(items: Observable<Item>, metadata: Metadata): Observable<Item> {
    items.subscribe();
    return itemsOf(Number(metadata.get('count')[0]));
  }
}

export async function serve(): Promise<Serving> {
  const url = `127.0.0.1:${await freePort()}`;
  const { app: _app, ...serving } = await serveNest(optionsOf(url), GrpcController);
  return { ...serving, address: url };
}

export async function connect({ address }: Surroundings): Promise<Client> {
  const client = ClientProxyFactory.create(optionsOf(address as string)) as unknown as ClientGrpcProxy;
  const service = client.getService<BenchService>('Bench');
  return {
    call: (message) => lastValueFrom(service.echo(message)),
    stream: (count, take) => taken(service.items({ count }), take),
    upload: (items) => lastValueFrom(service.total(from(items))),
    duplex: (count, take) => {
      const metadata = new Metadata();
      metadata.set('count', String(count));
      return taken(service.exchange(itemsOf(count), metadata), take);
    },
    close: async () => client.close(),
  };
}

function itemsOf(count: number): Observable<Item> {
  return range(0, count).pipe(map(itemOf));
}

function optionsOf(url: string): GrpcOptions {
  const protoPath = join(import.meta.dirname, '..', '..', 'proto', 'bench.proto');
  return { transport: Transport.GRPC, options: { package: 'bench', protoPath, url } };
}
