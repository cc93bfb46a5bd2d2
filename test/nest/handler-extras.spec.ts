/** The extras of message handlers: a time limit of their own, how many calls at a time, and what they announce. */
import { beforeEach, describe, expect, it } from '@jest/globals';
import { Controller, Module, type ModuleMetadata, type NestInterceptor } from '@nestjs/common';
import { Ctx, EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { connect } from 'node:http2';
import { randomUUID } from 'node:crypto';
import { delay, NEVER, type Observable } from 'rxjs';
import {
  MeshContext,
  MeshError,
  MeshModule,
  MeshServer,
  type MeshHandlerExtras,
  type MeshOptions,
} from '../../lib/index.js';
import { gate, until, useBench, type Gate } from './nest-fixture.js';

const SHORT: MeshHandlerExtras = { timeoutMs: 40 };
const SINGLE: MeshHandlerExtras = { maxConcurrency: 1 };

interface Seen {
  readonly deadlineIn: number | undefined;
  readonly signal: AbortSignal;
}

let seen: Seen[] = [];
let gates: Gate<string>[] = [];
let returned = 0;

function note(context: MeshContext): void {
  const { deadline, signal } = context;
  seen.push({ deadlineIn: deadline === undefined ? undefined : deadline - Date.now(), signal });
}

/** Waits until the test lets it go on. */
function held(): Promise<string> {
  const one = gate<string>();
  gates.push(one);
  return one.promise;
}

@Controller()
class LimitedController {
  @MessagePattern('short', SHORT)
  short(@Ctx() context: MeshContext): Promise<string> {
    note(context);
    return held();
  }
  @MessagePattern('short.late-look', SHORT)
  async lateLook(@Ctx() context: MeshContext): Promise<string> {
    const answer = await held();
    note(context);
    return answer;
  }
  @MessagePattern('short.observable', SHORT)
  observable(@Ctx() context: MeshContext): Observable<never> {
    note(context);
    return NEVER;
  }
  @MessagePattern('short.generator', SHORT)
  async *generator(@Ctx() context: MeshContext): AsyncIterable<string> {
    note(context);
    try {
      yield await held();
    } finally {
      returned += 1;
    }
  }
  @MessagePattern('short.stream', SHORT)
  async *stream(): AsyncIterable<string> {
    yield 'first';
    yield await held();
  }
  @MessagePattern('short.input', SHORT)
  async input(@Payload() rows: AsyncIterable<unknown>, @Ctx() context: MeshContext): Promise<number> {
    note(context);
    let count = 0;
    for await (const _ of rows) count += 1;
    return count;
  }
  @MessagePattern(['single', 'single.too'], SINGLE)
  single(): Promise<string> {
    return held();
  }
  @MessagePattern('single.stream', SINGLE)
  async *singleStream(): AsyncIterable<string> {
    yield 'first';
    yield await held();
  }
  @MessagePattern('single.quick', SINGLE)
  quick(@Payload() fails: boolean): string {
    if (fails) throw new Error('it fails');
    return 'quick';
  }
  @MessagePattern('single.short', { ...SINGLE, ...SHORT })
  singleShort(): Promise<string> {
    return held();
  }
  @MessagePattern('get', { idempotent: true })
  get(): string {
    return 'got';
  }
  @MessagePattern({ cmd: 'read' }, { idempotent: true })
  read(): string {
    return 'read';
  }
  @MessagePattern('put', { idempotent: false })
  put(): string {
    return 'put';
  }
  @EventPattern<unknown>('user.*')
  user(): void {}
}

@Controller()
class PlainController {
  @MessagePattern('plain')
  plain(): string {
    return 'plain';
  }
}

/** Interceptors turn every answer into an Observable. */
const interceptor: NestInterceptor = { intercept: (_, next) => next.handle().pipe(delay(1)) };

async function failure(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => {
      throw new Error(`it resolved with ${JSON.stringify(value)}`);
    },
    (error: unknown) => error,
  );
}

const EXCEEDED = { code: 'DEADLINE_EXCEEDED', delivery: 'unknown' };
const EXHAUSTED = { code: 'RESOURCE_EXHAUSTED', delivery: 'refused' };

describe.each([
  ['', undefined],
  [' behind an interceptor', interceptor],
])('the extras of a handler%s:', (_, global) => {
  const bench = useBench();
  beforeEach(() => {
    seen = [];
    gates = [];
    returned = 0;
  });
  const start = () =>
    bench.start(
      { controllers: [LimitedController] },
      { configure: (app) => void (global && app.useGlobalInterceptors(global)) },
    );
  const letGo = (answer = 'done'): void => gates.splice(0).forEach(({ open }) => open(answer));

  it.each(['short', 'short.observable', 'short.generator'])(
    'timeoutMs ends the call and aborts its signal: %s',
    async (pattern) => {
      const { client } = await start();
      const error = await failure(client.call(pattern, {}));
      expect(error).toMatchObject(EXCEEDED);
      expect((error as MeshError).message).toContain('40 ms (timeoutMs of its handler)');
      await until(() => seen[0]?.signal.aborted === true, 'the signal aborts');
      expect(seen[0]?.signal.reason).toMatchObject({ code: 'DEADLINE_EXCEEDED' });
      expect(seen[0]?.deadlineIn).toBeLessThanOrEqual(40);
      letGo();
      if (pattern === 'short.generator') await until(() => returned === 1, 'the generator returns');
    },
  );

  it('timeoutMs shows in a signal that is first asked for when the time is over', async () => {
    const { client } = await start();
    expect(await failure(client.call('short.late-look', {}))).toMatchObject(EXCEEDED);
    letGo();
    await until(() => seen.length === 1, 'the handler goes on');
    expect(seen[0]?.signal.aborted).toBe(true);
  });

  it('timeoutMs makes no caller wait longer than it wants to', async () => {
    const { client } = await start();
    // Connected already, so that the call surely reaches its handler.
    await client.call('get', {});
    const error = await failure(client.with({ timeoutMs: 10 }).call('short', {}));
    expect(error).toMatchObject(EXCEEDED);
    await until(() => seen[0]?.signal.aborted === true, 'the signal aborts');
    expect(seen[0]?.deadlineIn).toBeLessThanOrEqual(10);
    letGo();
  });

  it('timeoutMs holds for callers that wait for ever', async () => {
    const { client } = await start();
    expect(await failure(client.with({ timeoutMs: 0 }).call('short', {}))).toMatchObject(EXCEEDED);
    letGo();
  });

  it('timeoutMs lets a stream go on that has begun in time', async () => {
    const { client } = await start();
    const values: string[] = [];
    for await (const value of client.stream<string>('short.stream', {})) {
      values.push(value);
      if (value !== 'first') continue;
      // Longer than the limit: were it still running, the stream would end here.
      await new Promise((resolve) => setTimeout(resolve, 80));
      letGo('second');
    }
    expect(values).toEqual(['first', 'second']);
  });

  it('timeoutMs ends a call with a stream of input', async () => {
    const { client } = await start();
    async function* rows(): AsyncIterable<number> {
      yield 1;
      await new Promise((resolve) => setTimeout(resolve, 200).unref());
    }
    expect(await failure(client.call('short.input', rows()))).toMatchObject(EXCEEDED);
    await until(() => seen[0]?.signal.aborted === true, 'the signal aborts');
  });

  it('timeoutMs is answered in time over plain HTTP/2', async () => {
    const { server } = await start();
    const { port } = server['node'].record;
    const session = connect(`http://127.0.0.1:${port}`);
    const request = session.request({
      ':method': 'POST',
      ':path': '/rpc/short',
      'content-type': 'application/json',
    });
    request.end('{}');
    const status = new Promise((resolve) =>
      request.once('response', (headers) => resolve(headers[':status'])),
    );
    let body = '';
    for await (const chunk of request) body += String(chunk);
    session.close();
    expect(await status).toBe(504);
    expect(JSON.parse(body)).toMatchObject({ error: { code: 'DEADLINE_EXCEEDED' } });
    letGo();
  });

  it('maxConcurrency refuses a call beyond it at once, for each pattern by itself', async () => {
    const { client } = await start();
    const first = client.call('single', {});
    await until(() => gates.length === 1, 'the handler runs');
    const error = await failure(client.call('single', {}));
    expect(error).toMatchObject({ ...EXHAUSTED, pattern: 'single' });
    expect((error as MeshError).message).toContain('maxConcurrency');
    expect((error as MeshError).details?.['retryAfterMs']).toBeGreaterThanOrEqual(10);
    const other = client.call('single.too', {});
    await until(() => gates.length === 2, 'the other pattern runs');
    letGo();
    await expect(Promise.all([first, other])).resolves.toEqual(['done', 'done']);
  });

  it('maxConcurrency has room again when a handler has ended, in whatever way', async () => {
    const { client } = await start();
    for (const fails of [false, true, false, true, false]) {
      const outcome = client.call('single.quick', fails);
      if (fails) expect(await failure(outcome)).toMatchObject({ message: 'Internal server error' });
      else await expect(outcome).resolves.toBe('quick');
    }
  });

  it.each(['call', 'stream'] as const)('maxConcurrency counts a stream until it ends: %s', async (how) => {
    const { client } = await start();
    const values: string[] = [];
    const reading = (async (): Promise<void> => {
      if (how === 'call') await client.call('single.stream', {});
      else for await (const value of client.stream<string>('single.stream', {})) values.push(value);
    })();
    await until(() => gates.length === 1, 'the first value is out');
    expect(await failure(client.call('single.stream', {}))).toMatchObject(EXHAUSTED);
    letGo();
    await reading;
    const again = client.call('single.stream', {});
    await until(() => gates.length === 1, 'it runs again');
    letGo();
    await expect(again).resolves.toBe('done');
  });

  it('maxConcurrency counts a handler that goes on after its call has ended, unless an interceptor hides it', async () => {
    const { client } = await start();
    expect(await failure(client.call('single.short', {}))).toMatchObject(EXCEEDED);
    // The Observable of an interceptor is unsubscribed, and tells nothing of the handler behind it.
    const second = global === undefined ? EXHAUSTED : EXCEEDED;
    expect(await failure(client.call('single.short', {}))).toMatchObject(second);
    letGo();
    // The first handler ends in its own time.
    let error: unknown;
    do error = await failure(client.call('single.short', {}));
    while ((error as MeshError).code === 'RESOURCE_EXHAUSTED');
    expect(error).toMatchObject(EXCEEDED);
    letGo();
  });

  it('maxConcurrency is counted with processing hooks too', async () => {
    const ended: string[] = [];
    const { client } = await bench.start(
      { controllers: [LimitedController] },
      {
        configure: (app, server) => {
          if (global) app.useGlobalInterceptors(global);
          server.setOnProcessingStartHook((_transport, _context, done) => void done());
          server.setOnProcessingEndHook((_transport, context) => {
            ended.push((context as MeshContext).getPattern());
          });
        },
      },
    );
    for (let at = 0; at < 3; at += 1) await client.call('single.quick', false);
    await until(() => ended.length === 3, 'the hooks have run');
    expect(ended).toEqual(['single.quick', 'single.quick', 'single.quick']);
  });

  it('idempotent is announced in the record, beside the patterns of the event handlers', async () => {
    const { client } = await start();
    const [record] = await client.unwrap().discover('service');
    expect(record?.metadata).toEqual({
      mesh: { events: ['user.*'], idempotent: ['get', '{"cmd":"read"}'] },
    });
  });
});

describe('a service without such handlers', () => {
  const bench = useBench();

  it('has no limits, while one in a hybrid application has those of its extras', async () => {
    const registry = `memory:${randomUUID()}`;
    const mesh = MeshModule.forRoot({ service: 'hybrid', registry });
    const module = await bench.compile({
      controllers: [LimitedController, PlainController],
      imports: [mesh],
    });
    const app = bench.keep(module.createNestApplication());
    app.connectMicroservice({ strategy: app.get(MeshServer) }, { inheritAppConfig: true });
    await app.startAllMicroservices();
    await app.init();
    const client = bench.client({ registry, to: 'hybrid' });
    await expect(client.call('plain', {})).resolves.toBe('plain');
    expect(await failure(client.call('short', {}))).toMatchObject(EXCEEDED);
    gates.splice(0).forEach(({ open }) => open('done'));
  });

  it('announces nothing of them', async () => {
    const { client } = await bench.start(
      { controllers: [PlainController] },
      { options: { metadata: { zone: 'a' } } },
    );
    const [record] = await client.unwrap().discover('service');
    expect(record?.metadata).toEqual({ zone: 'a' });
  });
});

@Controller()
class BadTimeController {
  @MessagePattern('bad.time', { timeoutMs: '5s' })
  time(): string {
    return '';
  }
}
@Controller()
class BadController {
  @MessagePattern('bad.both', { timeoutMs: -1, maxConcurrency: 0 })
  both(): string {
    return '';
  }
  @MessagePattern('bad.idempotent', { idempotent: 'yes' })
  idempotent(): string {
    return '';
  }
  @EventPattern<unknown>('bad.event', { maxConcurrency: 1 })
  event(): void {}
}
@Controller()
class OwnExtrasController {
  @MessagePattern('own', { role: 'admin', retries: 'many' })
  own(): string {
    return 'own';
  }
}
@Module({ controllers: [BadTimeController, BadController] })
class BadModule {}

describe('wrong extras', () => {
  const bench = useBench();

  const startHybrid = async (
    metadata: ModuleMetadata,
    options: Partial<MeshOptions> = {},
  ): Promise<unknown> => {
    const mesh = MeshModule.forRoot({ service: 'service', registry: `memory:${randomUUID()}`, ...options });
    const module = await bench.compile({ ...metadata, imports: [mesh, ...(metadata.imports ?? [])] });
    const app = bench.keep(module.createNestApplication());
    app.connectMicroservice({ strategy: app.get(MeshServer) });
    await app.init();
    return app.startAllMicroservices().then(
      () => undefined,
      (error: unknown) => error,
    );
  };

  it('are refused at start, all at once, with the controller, the method and the value', async () => {
    const error = await startHybrid({ imports: [BadModule] });
    expect(MeshError.is(error)).toBe(true);
    const { message } = error as MeshError;
    for (const words of [
      '"bad.time" (BadTimeController.time (BadModule)): timeoutMs must be a number of milliseconds',
      'not "5s"',
      '"bad.both" (BadController.both (BadModule)): timeoutMs',
      'not -1',
      'maxConcurrency must be a whole number of at least 1, not 0',
      '"bad.idempotent" (BadController.idempotent (BadModule)): idempotent must be true or false, not "yes"',
      'the event pattern "bad.event" has the extra maxConcurrency, which holds for message patterns only',
    ]) {
      expect(message).toContain(words);
    }
  });

  it('are refused without MeshModule too', async () => {
    const start = bench.start({ controllers: [BadTimeController] });
    await expect(start).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it('are only those that the mesh knows: others belong to whoever put them there', async () => {
    const { client } = await bench.start({ controllers: [OwnExtrasController] });
    await expect(client.call('own', {})).resolves.toBe('own');
  });

  it('do not hide in the metadata of the node, whose member mesh is reserved', async () => {
    const start = bench.start({ controllers: [PlainController] }, { options: { metadata: { mesh: {} } } });
    await expect(start).rejects.toThrow('metadata.mesh is reserved');
  });
});
