/** What callers are not told has an id, which is in the log of the callee and with the caller. */
import { describe, expect, it } from '@jest/globals';
import { Controller, NotFoundException, UseFilters } from '@nestjs/common';
import { MessagePattern, RpcException } from '@nestjs/microservices';
import { connect } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { concat, of, throwError, type Observable } from 'rxjs';
import {
  ChannelPattern,
  MeshChannel,
  MeshError,
  MeshExceptionFilter,
  type MeshServer,
} from '../../lib/index.js';
import { useBench, valuesOf } from './nest-fixture.js';
import { WirePeer } from './wire-peer.js';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const MASKED = { status: 'error', message: 'Internal server error' };

/** Over what fits into trailers. */
const LONG = 'ü'.repeat(5_000);

const THROWN: Record<string, () => unknown> = {
  error: () => new Error('secret'),
  http: () => new NotFoundException('secret'),
  mesh: () => new MeshError('NOT_FOUND', 'secret', { delivery: 'not-sent' }),
  told: () => new RpcException('not secret'),
  long: () => new RpcException(LONG),
};

@Controller()
class FailingController {
  @MessagePattern('sync')
  sync(what: string): never {
    throw THROWN[what]?.();
  }
  @MessagePattern('async')
  async async(what: string): Promise<never> {
    throw THROWN[what]?.();
  }
  @MessagePattern('observable')
  observable(what: string): Observable<unknown> {
    return concat(
      of(1),
      throwError(() => THROWN[what]?.()),
    );
  }
  @MessagePattern('generator')
  async *generator(what: string): AsyncIterable<unknown> {
    yield 1;
    throw THROWN[what]?.();
  }
  @MessagePattern('not-json')
  notJson(): unknown {
    return { secret: Symbol.iterator, big: 1n };
  }
  @ChannelPattern('channel')
  async channel(channel: MeshChannel<string>): Promise<void> {
    for await (const what of channel) throw THROWN[what]?.();
  }
  @MessagePattern('filtered')
  @UseFilters(MeshExceptionFilter)
  filtered(what: string): never {
    throw THROWN[what]?.();
  }
}

const WAYS = ['sync', 'async', 'observable', 'generator'];

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => {
      throw new Error('it should have failed');
    },
    (error: unknown) => error,
  );
}

function idOf(error: unknown): string | undefined {
  return (error as { errorId?: string }).errorId;
}

/** One unary call over plain HTTP/2. */
async function post(server: MeshServer, path: string, body: unknown): Promise<unknown> {
  const { port } = server.unwrap<{ address(): AddressInfo }>().address();
  const session = connect(`http://127.0.0.1:${port}`);
  try {
    const stream = session.request({ ':method': 'POST', ':path': path });
    stream.end(JSON.stringify(body));
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    return JSON.parse(Buffer.concat(chunks).toString());
  } finally {
    session.close();
  }
}

describe('an error that a handler did not mean for its caller', () => {
  const bench = useBench();
  const service = () => bench.start({ controllers: [FailingController] });

  it.each(WAYS)(
    'has the shape of Nest to the letter, and an errorId that is in the log of the callee: %s',
    async (way) => {
      const { client, logs } = await service();
      const error = await rejection(client.call(way, 'error'));
      expect(error).toStrictEqual(MASKED);
      expect(JSON.stringify(error)).toBe(JSON.stringify(MASKED));
      expect(Object.keys(error as object)).toEqual(['status', 'message']);
      expect(idOf(error)).toMatch(UUID);
      // The id, the route and the caller.
      expect(logs.find('error', `errorId ${idOf(error)}`, `"${way}"`, 'caller (node ')).toHaveLength(1);
      expect(logs.find('error', 'secret')).toHaveLength(1);
    },
  );

  it('has another errorId each time', async () => {
    const { client } = await service();
    const ids = new Set<unknown>();
    for (const way of [...WAYS, ...WAYS]) ids.add(idOf(await rejection(client.call(way, 'error'))));
    expect(ids.size).toBe(2 * WAYS.length);
  });

  it('has it on a call stream, too', async () => {
    const { client, logs } = await service();
    for (const way of WAYS) {
      const iterator = client.stream(way, 'error')[Symbol.asyncIterator]();
      const read = async (): Promise<void> => {
        while ((await iterator.next()).done !== true);
      };
      const error = await rejection(read());
      expect(error).toStrictEqual(MASKED);
      expect(logs.find('error', `errorId ${idOf(error)}`, `"${way}"`)).toHaveLength(1);
    }
  });

  it('has it in details.errorId over plain HTTP/2', async () => {
    const { server, logs } = await service();
    const answer = (await post(server, '/rpc/sync', 'error')) as {
      error: { details: { errorId: string } };
    };
    const { errorId } = answer.error.details;
    expect(answer).toEqual({
      error: { code: 'UNKNOWN', message: 'Internal server error', details: { ...MASKED, errorId } },
    });
    expect(logs.find('error', `errorId ${errorId}`)).toHaveLength(1);
  });

  it('has it for an answer that cannot be written, too', async () => {
    const { client, logs } = await service();
    const error = await rejection(client.call('not-json', {}));
    expect(error).toStrictEqual(MASKED);
    expect(logs.find('error', `errorId ${idOf(error)}`, 'could not be sent')).toHaveLength(1);
  });

  it.each(WAYS)('is masked when it is a MeshError of a call that the handler made: %s', async (way) => {
    const { client, logs } = await service();
    const error = await rejection(valuesOf(client.send(way, 'mesh')));
    expect(error).toStrictEqual(MASKED);
    expect(MeshError.is(error)).toBe(false);
    expect(logs.find('error', 'secret')).toHaveLength(1);
  });

  it('is masked when it is an HttpException; only its call is in the log, since Nest logs none', async () => {
    const { client, logs } = await service();
    for (const way of WAYS.slice(0, 3)) {
      const error = await rejection(client.call(way, 'http'));
      expect(error).toStrictEqual(MASKED);
      expect(logs.find('error', `errorId ${idOf(error)}`)).toHaveLength(1);
    }
    expect(logs.find('error', 'secret')).toEqual([]);
  });

  it('travels beside err in its packet, and not at all to a peer that knows part 1 only', async () => {
    const { server } = await service();
    const peer = bench.keep(await WirePeer.open(server));
    const last = { err: MASKED, isDisposed: true, status: 'error' };
    await expect(peer.answerTo(1, 'sync', 'error')).resolves.toEqual([
      { ...last, errorId: expect.stringMatching(UUID) },
    ]);
    const plain = bench.keep(await WirePeer.open(server, { 'x-mesh-version': '' }));
    await expect(plain.answerTo(1, 'sync', 'error')).resolves.toEqual([last]);
  });
});

describe('an error that its caller is told', () => {
  const bench = useBench();

  it('is masked where it is too long for trailers, with an errorId that is in the log beside it', async () => {
    const { client, logs } = await bench.start({ controllers: [FailingController] });
    for (const way of WAYS) {
      // By packets it has its whole length.
      expect(await rejection(client.call(way, 'long'))).toStrictEqual({ status: 'error', message: LONG });
      const iterator = client.stream(way, 'long')[Symbol.asyncIterator]();
      const read = async (): Promise<void> => {
        while ((await iterator.next()).done !== true);
      };
      const error = await rejection(read());
      expect(error).toStrictEqual(MASKED);
      expect(
        logs.find('error', `errorId ${idOf(error)}`, `"${way}"`, 'bytes is over the 16384'),
      ).toHaveLength(1);
    }
    const channel = await client.channel<string>('channel');
    await channel.send('long');
    const error = await rejection(channel[Symbol.asyncIterator]().next());
    expect(error).toMatchObject({ code: 'UNKNOWN', rawMessage: 'Internal server error' });
    expect(logs.find('warn', `errorId ${idOf(error)}`, 'bytes is over the 16384')).toHaveLength(1);
  });

  it('has no errorId, in the answer or in the log', async () => {
    const { client, logs } = await bench.start({ controllers: [FailingController] });
    for (const way of WAYS) {
      const error = await rejection(client.call(way, 'told'));
      expect(error).toStrictEqual({ status: 'error', message: 'not secret' });
      expect(idOf(error)).toBeUndefined();
    }
    expect(logs.find('error', 'errorId')).toEqual([]);
  });
});

describe('an error that MeshExceptionFilter masks', () => {
  const bench = useBench();

  it('has one errorId: in details, beside err, and in one line of the log, with the route and the caller', async () => {
    const { client, logs } = await bench.start({ controllers: [FailingController] });
    const error = await rejection(client.call('filtered', 'error'));
    const { errorId } = (error as { details: { errorId: string } }).details;
    expect(errorId).toMatch(UUID);
    expect(idOf(error)).toBe(errorId);
    expect(logs.find('error', `errorId ${errorId}`, '"filtered"', 'caller (node ', 'secret')).toHaveLength(1);
    expect(logs.find('error', 'errorId')).toHaveLength(1);
  });

  it('is no error at all when it is a MeshError: that one stays a MeshError', async () => {
    const { client } = await bench.start({ controllers: [FailingController] });
    const error = await rejection(client.call('filtered', 'mesh'));
    expect(MeshError.is(error)).toBe(true);
    expect(error).toMatchObject({ code: 'NOT_FOUND', delivery: 'unknown', rawMessage: 'secret' });
  });
});
