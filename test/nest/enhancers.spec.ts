/** Guards, pipes, interceptors and filters, wherever they are bound, and request-scoped controllers. */
import { beforeEach, describe, expect, it } from '@jest/globals';
import {
  Catch,
  Controller,
  Inject,
  Injectable,
  ParseIntPipe,
  Scope,
  UseFilters,
  UseGuards,
  UseInterceptors,
  UsePipes,
  type CallHandler,
  type CanActivate,
  type ExceptionFilter,
  type ExecutionContext,
  type NestInterceptor,
  type PipeTransform,
} from '@nestjs/common';
import { APP_FILTER, APP_GUARD, APP_INTERCEPTOR, APP_PIPE, REQUEST } from '@nestjs/core';
import { EventPattern, MessagePattern, Payload, RpcException } from '@nestjs/microservices';
import { catchError, map, of, tap, throwError, type Observable } from 'rxjs';
import { MeshContext, MeshServer } from '../../lib/index.js';
import { until, useBench, valuesOf } from './nest-fixture.js';

let steps: string[] = [];

function guard(name: string): CanActivate {
  return {
    canActivate(context: ExecutionContext): boolean {
      steps.push(`guard ${name}`);
      expect(context.getType()).toBe('rpc');
      expect(context.switchToRpc().getContext()).toBeInstanceOf(MeshContext);
      return true;
    },
  };
}
function pipe(name: string): PipeTransform {
  return {
    transform(value: unknown): unknown {
      steps.push(`pipe ${name}`);
      return value;
    },
  };
}
function interceptor(name: string): NestInterceptor {
  return {
    intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
      steps.push(`before ${name}`);
      return next.handle().pipe(tap({ finalize: () => steps.push(`after ${name}`) }));
    },
  };
}
class Marked extends Error {}
@Catch(Marked)
class MarkedFilter implements ExceptionFilter {
  constructor(private readonly name: string) {}
  catch(error: Marked): Observable<never> {
    return throwError(() => ({ caught: error.message, by: this.name }));
  }
}

@UseGuards(guard('controller'))
@UsePipes(pipe('controller'))
@UseInterceptors(interceptor('controller'))
@Controller()
class LayeredController {
  @UseGuards(guard('method'))
  @UsePipes(pipe('method'))
  @UseInterceptors(interceptor('method'))
  @MessagePattern('layers')
  layers(@Payload(pipe('parameter')) data: unknown): unknown {
    steps.push('handler');
    return data;
  }
  @UseFilters(new MarkedFilter('method'))
  @MessagePattern('marked-method')
  markedMethod(): never {
    throw new Marked('oops');
  }
  @MessagePattern('marked')
  marked(): never {
    throw new Marked('oops');
  }
  @EventPattern<unknown>('event')
  event(): void {
    steps.push('handler');
  }
}

@Controller()
class PlainController {
  @UseGuards({ canActivate: () => false })
  @MessagePattern('forbidden')
  forbidden(): string {
    steps.push('never');
    return 'never';
  }
  @UseGuards({
    canActivate: () => {
      throw new RpcException({ code: 401 });
    },
  })
  @MessagePattern('own-refusal')
  ownRefusal(): void {}
  @MessagePattern('int')
  int(@Payload('n', ParseIntPipe) n: number): number {
    return n + 1;
  }
  @UseInterceptors({
    intercept: (_context: ExecutionContext, next: CallHandler): Observable<unknown> =>
      next.handle().pipe(
        map((value: unknown) => ({ wrapped: value })),
        catchError(() => of('rescued')),
      ),
  })
  @MessagePattern('wrapped')
  wrapped(fail: boolean): number {
    if (fail) throw new Error('boom');
    return 1;
  }
}

let made = 0;
@Injectable({ scope: Scope.REQUEST })
class Scoped {
  readonly number = (made += 1);
  constructor(
    @Inject(REQUEST)
    readonly request: { getData(): unknown; getPattern(): unknown; getContext(): MeshContext },
  ) {}
}
@Controller()
class ScopedController {
  constructor(private readonly scoped: Scoped) {}
  @MessagePattern({ cmd: 'scoped' })
  answer(): unknown {
    const { number, request } = this.scoped;
    return {
      number,
      data: request.getData(),
      pattern: request.getPattern(),
      caller: request.getContext().peer.service,
    };
  }
  @MessagePattern('scoped-failure')
  fail(): never {
    throw new RpcException('boom');
  }
}
@Injectable({ scope: Scope.REQUEST })
class Broken {
  constructor() {
    throw new Error('it cannot be made');
  }
}
@Controller()
class BrokenController {
  constructor(readonly broken: Broken) {}
  @MessagePattern('broken')
  answer(): void {}
}

describe('guards, pipes, interceptors and filters', () => {
  const bench = useBench();
  beforeEach(() => {
    steps = [];
    made = 0;
  });

  it('run in the order of Nest, from global to method', async () => {
    const { client } = await bench.start(
      { controllers: [LayeredController] },
      {
        configure: (app) =>
          app
            .useGlobalGuards(guard('global'))
            .useGlobalPipes(pipe('global'))
            .useGlobalInterceptors(interceptor('global')),
      },
    );
    await expect(client.call('layers', 'data')).resolves.toBe('data');
    expect(steps).toEqual([
      'guard global',
      'guard controller',
      'guard method',
      'before global',
      'before controller',
      'before method',
      'pipe global',
      'pipe controller',
      'pipe method',
      'pipe parameter',
      'handler',
      'after method',
      'after controller',
      'after global',
    ]);
  });

  it('are also taken from APP_GUARD, APP_PIPE, APP_INTERCEPTOR and APP_FILTER, and hold for events', async () => {
    const { client } = await bench.start({
      controllers: [LayeredController],
      providers: [
        { provide: APP_GUARD, useValue: guard('app') },
        { provide: APP_PIPE, useValue: pipe('app') },
        { provide: APP_INTERCEPTOR, useValue: interceptor('app') },
        { provide: APP_FILTER, useValue: new MarkedFilter('app') },
      ],
    });
    await expect(client.call('marked', {})).rejects.toEqual({ caught: 'oops', by: 'app' });
    steps = [];
    client.emit('event', {});
    await until(() => steps.includes('after app'), 'the event is handled');
    expect(steps).toEqual([
      'guard app',
      'guard controller',
      'before app',
      'before controller',
      'pipe app',
      'pipe controller',
      'handler',
      'after controller',
      'after app',
    ]);
  });

  it('let the filter of a method come before a global one', async () => {
    const { client } = await bench.start(
      { controllers: [LayeredController] },
      { configure: (app) => app.useGlobalFilters(new MarkedFilter('global')) },
    );
    await expect(client.call('marked', {})).rejects.toEqual({ caught: 'oops', by: 'global' });
    await expect(client.call('marked-method', {})).rejects.toEqual({ caught: 'oops', by: 'method' });
  });

  it('refuse calls with the words of Nest or their own', async () => {
    const { client } = await bench.start({ controllers: [PlainController] });
    await expect(client.call('forbidden', {})).rejects.toEqual({
      status: 'error',
      message: 'Forbidden resource',
    });
    await expect(client.call('own-refusal', {})).rejects.toEqual({ code: 401 });
    expect(steps).toEqual([]);
  });

  it('transform and refuse parameters', async () => {
    const { client } = await bench.start({ controllers: [PlainController] });
    await expect(client.call('int', { n: '41' })).resolves.toBe(42);
    await expect(client.call('int', { n: 'x' })).rejects.toEqual({
      status: 'error',
      message: 'Internal server error',
    });
  });

  it('may change the answer and rescue a failure', async () => {
    const { client } = await bench.start({ controllers: [PlainController] });
    await expect(valuesOf(client.send('wrapped', false))).resolves.toEqual([{ wrapped: 1 }]);
    await expect(valuesOf(client.send('wrapped', true))).resolves.toEqual(['rescued']);
  });
});

describe('a hybrid application', () => {
  const bench = useBench();
  beforeEach(() => {
    steps = [];
  });
  const hybrid = async (inheritAppConfig: boolean, when: 'before' | 'after') => {
    const registry = `memory:enhancers-${Math.random()}`;
    const module = await bench.compile({
      controllers: [LayeredController],
      providers: [{ provide: APP_GUARD, useValue: guard('app') }],
    });
    const app = bench.keep(module.createNestApplication());
    const configure = (): unknown => app.useGlobalPipes(pipe('global'));
    if (when === 'before') configure();
    app.connectMicroservice(
      { strategy: new MeshServer({ service: 'service', registry }) },
      { inheritAppConfig },
    );
    if (when === 'after') configure();
    await app.init();
    await app.startAllMicroservices();
    const client = bench.client({ registry, to: 'service' });
    await expect(client.call('layers', 1)).resolves.toBe(1);
    return steps.filter((step) => / (global|app)$/.test(step));
  };

  it('applies what was set before connectMicroservice when inheritAppConfig is set', async () => {
    await expect(hybrid(true, 'before')).resolves.toEqual(['guard app', 'pipe global']);
  });

  it('applies APP_* but not what was set after connectMicroservice', async () => {
    await expect(hybrid(true, 'after')).resolves.toEqual(['guard app']);
  });

  it('applies nothing of it without inheritAppConfig', async () => {
    await expect(hybrid(false, 'before')).resolves.toEqual([]);
  });
});

describe('a request-scoped controller', () => {
  const bench = useBench();
  beforeEach(() => {
    made = 0;
  });

  it('is made for each call, and REQUEST is its data, pattern and context', async () => {
    const { client } = await bench.start({ controllers: [ScopedController], providers: [Scoped] });
    const answers = [];
    for (const data of ['a', 'b', 'c']) answers.push(await client.call({ cmd: 'scoped' }, data));
    expect(answers).toEqual(
      ['a', 'b', 'c'].map((data, at) => ({
        number: at + 1,
        data,
        pattern: { cmd: 'scoped' },
        caller: 'caller',
      })),
    );
    await expect(client.call('scoped-failure', {})).rejects.toEqual({ status: 'error', message: 'boom' });
  });

  it('that cannot be made answers the caller', async () => {
    const { client } = await bench.start({ controllers: [BrokenController], providers: [Broken] });
    await expect(client.call('broken', {})).rejects.toEqual({
      status: 'error',
      message: 'Internal server error',
    });
  });
});
