/** What the tests of plain HTTP/2 share: a Nest service with handlers of every kind, and `curl`. */
import { expect } from '@jest/globals';
import {
  Controller,
  GoneException,
  HttpException,
  type INestMicroservice,
  type RpcExceptionFilter,
} from '@nestjs/common';
import { Ctx, EventPattern, MessagePattern, Payload, RpcException } from '@nestjs/microservices';
import { execFile } from 'node:child_process';
import { connect, constants, type ClientHttp2Session, type Http2Server, type Settings } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { EMPTY, Observable, of } from 'rxjs';
import { MeshContext, MeshError, type MeshOptions, type MeshServer } from '../../lib/index.js';
import { gate, useBench } from '../nest/nest-fixture.js';

export const bench = useBench();

/** What the controller has seen; cleared by each start. */
export const seen = {
  events: [] as unknown[],
  aborted: [] as string[],
  waiting: 0,
  closed: 0,
  unsubscribed: 0,
};
export let release = gate();

@Controller()
class OrdersController {
  @MessagePattern('orders.total')
  total(@Payload() prices: number[]): number {
    return prices.reduce((sum, price) => sum + price, 0);
  }

  @MessagePattern('a/b c%ü')
  odd(): string {
    return 'odd';
  }

  @MessagePattern({ cmd: 'get', by: 'id' })
  byObject(@Payload() id: number): { id: number } {
    return { id };
  }

  @MessagePattern('type of data')
  typeOf(@Payload() data: unknown): string {
    return typeof data;
  }

  @MessagePattern('null')
  nothing(): null {
    return null;
  }

  @MessagePattern('undefined')
  missing(): undefined {
    return undefined;
  }

  @MessagePattern('empty')
  empty(): Observable<never> {
    return EMPTY;
  }

  @MessagePattern('observable of one')
  one(): Observable<string> {
    return of('one');
  }

  @MessagePattern('generator of one')
  async *generatorOfOne(): AsyncGenerator<string> {
    yield 'one';
  }

  @MessagePattern('generator of many')
  async *many(): AsyncGenerator<number> {
    try {
      for (let n = 1; ; n += 1) yield n;
    } finally {
      seen.closed += 1;
    }
  }

  @MessagePattern('observable of many')
  manyObserved(): Observable<number> {
    return new Observable((observer) => {
      // A source without end, at a pace that leaves others their turn.
      const timer = setInterval(() => observer.next(1), 1);
      return () => {
        clearInterval(timer);
        seen.unsubscribed += 1;
      };
    });
  }

  @MessagePattern('metadata')
  metadata(@Ctx() context: MeshContext): unknown {
    return { metadata: context.getMetadata(), service: context.peer.service };
  }

  @MessagePattern('deadline')
  deadline(@Ctx() context: MeshContext): boolean {
    return context.deadline !== undefined && context.deadline - Date.now() <= 5_000;
  }

  @MessagePattern('call back')
  callBack(@Ctx() context: MeshContext): Promise<unknown> {
    return context.client.call('anything', {});
  }

  @MessagePattern('wait')
  async wait(@Ctx() context: MeshContext): Promise<string> {
    context.signal.addEventListener('abort', () =>
      seen.aborted.push((context.signal.reason as MeshError).code),
    );
    seen.waiting += 1;
    await release.promise;
    return 'waited';
  }

  @MessagePattern('fail')
  fail(@Payload() how: string): unknown {
    if (how === 'object') throw new RpcException({ reason: 'sold out', left: 0 });
    if (how === 'large') throw new RpcException({ reason: 'x'.repeat(5_000) });
    if (how === 'gone') throw new GoneException('sold out');
    if (how === 'moved') throw new HttpException('moved', 302);
    if (how === 'text') throw new RpcException('sold out');
    if (how === 'mesh') throw new RpcException(new MeshError('ABORTED', 'changed meanwhile'));
    throw new Error('a secret');
  }

  @MessagePattern('large')
  large(@Payload() bytes: number): string {
    return 'x'.repeat(bytes);
  }

  @EventPattern('order.created')
  created(@Payload() data: unknown, @Ctx() context: unknown): void {
    seen.events.push([data, (context as MeshContext).getMetadata()?.['x-trace']]);
  }
}

type Options = Partial<MeshOptions> & { readonly registry?: string };

export interface Running {
  readonly app: INestMicroservice;
  readonly server: MeshServer;
  readonly url: string;
}

export async function running(options: Options = {}, ...filters: RpcExceptionFilter[]): Promise<Running> {
  Object.assign(seen, { events: [], aborted: [], waiting: 0, closed: 0, unsubscribed: 0 });
  release = gate();
  const { app, server } = await bench.start(
    { controllers: [OrdersController] },
    { options, configure: (own) => own.useGlobalFilters(...filters) },
  );
  return { app, server, url: urlOf(server) };
}

export function urlOf(server: MeshServer): string {
  return `http://127.0.0.1:${(server.unwrap<Http2Server>().address() as AddressInfo).port}`;
}

export interface Answer {
  readonly status: number;
  /** The body as JSON; `undefined` without one. */
  readonly body: unknown;
}

export const JSON_TYPE = ['-H', 'content-type: application/json'];
const SEPARATOR = '\nstatus ';

export function curl(url: string, ...args: string[]): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const words = ['-sS', '--http2-prior-knowledge', '--max-time', '10', '-w', `${SEPARATOR}%{http_code}`];
    execFile('curl', [...words, ...args, url], { maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error) {
        reject(new Error(`curl failed: ${stderr || error.message}`));
        return;
      }
      const [text = '', status] = stdout.split(SEPARATOR);
      resolve({ status: Number(status), body: text === '' ? undefined : JSON.parse(text) });
    });
  });
}

/** The status line and the headers that answer a HEAD request. */
export function headersOf(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile('curl', ['-sS', '-I', '--http2-prior-knowledge', '--max-time', '10', url], (error, stdout) =>
      error ? reject(error) : resolve(stdout),
    );
  });
}

export function call(url: string, route: string, data?: unknown, ...args: string[]): Promise<Answer> {
  const body = data === undefined ? ['-X', 'POST'] : [...JSON_TYPE, '-d', JSON.stringify(data)];
  return curl(`${url}/rpc/${encodeURIComponent(route)}`, ...body, ...args);
}

export const refusal = (code: string, message: unknown): unknown => ({ error: { code, message } });
export const containing = (text: string): unknown => expect.stringContaining(text);

export function session(url: string, settings: Settings = {}): ClientHttp2Session {
  const http2 = connect(url, { settings });
  bench.keep({
    close: async () => {
      http2.destroy();
    },
  });
  return http2;
}

/** Over `http2`, for what `curl` cannot do. */
export function ask(
  http2: ClientHttp2Session,
  headers: Record<string, string>,
  body?: Buffer,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const stream = http2.request({ ':method': 'POST', ...headers });
    let status = 0;
    let text = '';
    stream.setEncoding('utf8');
    stream.on('response', (answer) => (status = answer[':status'] ?? 0));
    stream.on('data', (chunk: string) => (text += chunk));
    stream.on('end', () => {
      resolve({ status, body: text === '' ? undefined : JSON.parse(text) });
      // A body that was begun is never ended here.
      stream.close(constants.NGHTTP2_CANCEL);
    });
    stream.on('error', reject);
    if (body !== undefined) stream.write(body);
    else stream.end();
  });
}
