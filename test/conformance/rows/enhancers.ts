/** Enhancers and parameters: guards, pipes, interceptors, filters and decorators work as on every transport. */
import {
  Catch,
  Controller,
  Injectable,
  ParseIntPipe,
  UseGuards,
  UseInterceptors,
  type CallHandler,
  type CanActivate,
  type ExceptionFilter,
  type ExecutionContext,
  type NestInterceptor,
  type PipeTransform,
} from '@nestjs/common';
import { APP_FILTER, APP_GUARD, APP_INTERCEPTOR, APP_PIPE } from '@nestjs/core';
import { Ctx, MessagePattern, Payload, RpcException, type BaseRpcContext } from '@nestjs/microservices';
import { AsyncLocalStorage } from 'node:async_hooks';
import { map, of, tap, throwError, type Observable } from 'rxjs';
import { answer, answers, failed, got, MASKED } from '../outcome.js';
import type { Section } from '../row.js';

const told: string[] = [];

@Injectable()
class TellingGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    told.push(`guard of ${context.getType()} ${String(context.switchToRpc().getData())}`);
    return true;
  }
}

@Injectable()
class ClosedGuard implements CanActivate {
  canActivate(): boolean {
    return false;
  }
}

@Injectable()
class TellingInterceptor implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    told.push('before');
    return next.handle().pipe(tap({ complete: () => told.push('after') }));
  }
}

@Injectable()
class TellingPipe implements PipeTransform {
  transform(value: unknown): unknown {
    told.push('pipe');
    return value;
  }
}

@Catch()
class TellingFilter implements ExceptionFilter {
  catch(error: Error): Observable<never> {
    told.push('filter');
    return throwError(() => ({ filtered: error.message }));
  }
}

@Injectable()
class Doubling implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(map((value: number) => value * 2));
  }
}

@Controller()
class EnhancedController {
  @MessagePattern('value')
  value(@Payload() data: unknown): unknown {
    told.push('handler');
    return data;
  }
  @MessagePattern('throws')
  throws(@Payload() _data: unknown): unknown {
    told.push('handler');
    throw new RpcException('boom');
  }
  @UseGuards(ClosedGuard)
  @MessagePattern('closed')
  closed(): void {}
  @UseInterceptors(Doubling)
  @MessagePattern('doubled')
  doubled(): Observable<number> {
    return of(1, 2, 3);
  }
  @UseInterceptors(Doubling)
  @MessagePattern('doubled-value')
  doubledValue(): number {
    return 21;
  }
  @MessagePattern('part')
  part(@Payload('id') id: unknown, @Payload('id', ParseIntPipe) parsed: number): unknown {
    return [id, parsed];
  }
  @MessagePattern('bare')
  bare(...args: unknown[]): unknown {
    return [args.length, args[0]];
  }
  @MessagePattern('context')
  context(@Ctx() ctx: BaseRpcContext & { getPattern(): string }, @Payload() data: unknown): unknown {
    return [ctx.getPattern(), data];
  }
}

const ORDER = ['guard of rpc data', 'before', 'pipe', 'handler'];

export const ENHANCERS: Section = {
  title: 'Guards, pipes, interceptors, filters and parameters',
  rows: [
    {
      id: 'enhancers.app',
      title:
        'Providers under `APP_GUARD`, `APP_INTERCEPTOR`, `APP_PIPE` and `APP_FILTER` run, in this order.',
      both: [...ORDER, 'after', ...ORDER, 'filter'],
      async observe(stage) {
        told.length = 0;
        const { client } = await stage.serve({
          controllers: [EnhancedController],
          providers: [
            { provide: APP_GUARD, useClass: TellingGuard },
            { provide: APP_INTERCEPTOR, useClass: TellingInterceptor },
            { provide: APP_PIPE, useClass: TellingPipe },
            { provide: APP_FILTER, useClass: TellingFilter },
          ],
        });
        await answers(client, ['value', 'throws'], 'data');
        return told;
      },
    },
    {
      id: 'enhancers.global',
      title: 'So do those that a standalone microservice is given by `useGlobal…()`.',
      both: [...ORDER, 'after', ...ORDER, 'filter'],
      async observe(stage) {
        told.length = 0;
        const { client } = await stage.serve(EnhancedController, {
          configure(app) {
            app.useGlobalGuards(new TellingGuard());
            app.useGlobalInterceptors(new TellingInterceptor());
            app.useGlobalPipes(new TellingPipe());
            app.useGlobalFilters(new TellingFilter());
          },
        });
        await answers(client, ['value', 'throws'], 'data');
        return told;
      },
    },
    {
      id: 'enhancers.guard',
      title: 'A guard that says no fails the call with "Forbidden resource".',
      both: failed({ status: 'error', message: 'Forbidden resource' }),
      async observe(stage) {
        const { client } = await stage.serve(EnhancedController);
        return answer(client, 'closed');
      },
    },
    {
      id: 'enhancers.interceptor',
      title: 'An interceptor changes every value, of a stream and of a plain result.',
      both: [got(2, 4, 6), got(42)],
      async observe(stage) {
        const { client } = await stage.serve(EnhancedController);
        return answers(client, ['doubled', 'doubled-value']);
      },
    },
    {
      id: 'enhancers.pipe',
      title:
        '`@Payload(property, pipe)` gives a part of the data; a pipe that refuses it fails the call, masked.',
      both: [got(['7', 7]), failed(MASKED)],
      async observe(stage) {
        const { client } = await stage.serve(EnhancedController);
        return [await answer(client, 'part', { id: '7' }), await answer(client, 'part', { id: 'seven' })];
      },
    },
    {
      id: 'enhancers.bare',
      title: 'A handler without parameter decorators gets the data alone.',
      both: [1, 'data'],
      async observe(stage) {
        const { client } = await stage.serve(EnhancedController);
        return (await answer(client, 'bare', 'data')).values[0];
      },
    },
    {
      id: 'enhancers.context',
      title: '`@Ctx()` and `@Payload()` may stand in any order.',
      both: got(['context', 'data']),
      async observe(stage) {
        const { client } = await stage.serve(EnhancedController);
        return answer(client, 'context', 'data');
      },
    },
    {
      id: 'enhancers.pre-request',
      title:
        'A hook of `registerPreRequestHook` runs around every call, before its guards; what it stores reaches the handler.',
      both: [got('stored hello'), ['hook', 'guard of rpc hello']],
      async observe(stage) {
        told.length = 0;
        const storage = new AsyncLocalStorage<string>();
        @Controller()
        class StoredController {
          @MessagePattern('stored')
          @UseGuards(TellingGuard)
          stored(data: string): string {
            return `${storage.getStore()} ${data}`;
          }
        }
        const { client } = await stage.serve(StoredController, {
          configure: (app) =>
            app.registerPreRequestHook((_context, next) => {
              told.push('hook');
              storage.enterWith('stored');
              return next();
            }),
        });
        return [await answer(client, 'stored', 'hello'), [...told]];
      },
    },
  ],
};
