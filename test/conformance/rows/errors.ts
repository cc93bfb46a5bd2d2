/** Errors: what a handler throws, and what the caller's `catch` gets: the payload itself, no `Error`. */
import { Controller, HttpException } from '@nestjs/common';
import { MessagePattern, RpcException } from '@nestjs/microservices';
import { concat, defer, of, throwError, type Observable } from 'rxjs';
import { answer, answerOrHang, failed, got, MASKED, type Outcome } from '../outcome.js';
import type { DifferentRow, Finding, SameRow, Section } from '../row.js';
import type { Service, Stage } from '../stage.js';

class OwnRpcException extends RpcException {}

/** What can be thrown, by name. */
const THROWN: Record<string, () => unknown> = {
  text: () => new RpcException('boom'),
  subclass: () => new OwnRpcException('boom'),
  object: () => new RpcException({ code: 'X', status: 418, nested: { a: [1] } }),
  number: () => new RpcException(42 as never),
  'empty-text': () => new RpcException(''),
  'error-inside': () => new RpcException(new Error('inner')),
  error: () => new Error('secret'),
  string: () => 'secret',
  http: () => new HttpException('secret', 404),
  undefined: () => undefined,
  null: () => null,
  bigint: () => new RpcException({ big: 1n }),
};

@Controller()
class FailingController {
  @MessagePattern('sync')
  sync(what: string): unknown {
    throw THROWN[what]?.();
  }
  @MessagePattern('async')
  async async(what: string): Promise<unknown> {
    throw THROWN[what]?.();
  }
  @MessagePattern('observable')
  observable(what: string): Observable<unknown> {
    return throwError(() => THROWN[what]?.());
  }
  @MessagePattern('midway')
  midway(what: string): Observable<unknown> {
    return concat(
      of(1, 2),
      defer(() => throwError(() => THROWN[what]?.())),
    );
  }
  @MessagePattern('generator')
  async *generator(what: string): AsyncIterable<unknown> {
    yield 1;
    throw THROWN[what]?.();
  }
  @MessagePattern('fence')
  fence(): void {}
}

const serve = (stage: Stage): Promise<Service> => stage.serve(FailingController);

/** However it is thrown, and what came before it. */
async function thrown(stage: Stage, what: string): Promise<Outcome[]> {
  const { client } = await serve(stage);
  const outcomes = [];
  for (const way of ['sync', 'async', 'observable', 'midway'])
    outcomes.push(await answerOrHang(client, way, what));
  return outcomes;
}

/** The same error, thrown in all four ways. */
function everyWay(error: unknown): Outcome[] {
  return [failed(error), failed(error), failed(error), failed(error, 1, 2)];
}

function same(what: string, title: string, error: unknown): SameRow {
  return { id: `errors.${what}`, title, both: everyWay(error), observe: (stage) => thrown(stage, what) };
}

function different(
  what: string,
  title: string,
  findings: { readonly tcp: Finding; readonly mesh: Finding; readonly why: string },
): DifferentRow {
  return { id: `errors.${what}`, title, ...findings, observe: (stage) => thrown(stage, what) };
}

/** How often an error that callers are not told is in the log. */
async function logged(stage: Stage, what: string): Promise<number> {
  const { client, logs } = await serve(stage);
  await answer(client, 'sync', what);
  return logs.find('error', 'secret').length;
}

export const ERRORS: Section = {
  title: 'Errors of handlers, thrown at once, as a rejection, by an Observable, or in its middle',
  rows: [
    same('text', 'An `RpcException` with a text arrives as `{ status: "error", message }`.', {
      status: 'error',
      message: 'boom',
    }),
    same('subclass', 'A subclass of `RpcException` arrives like one.', { status: 'error', message: 'boom' }),
    same('object', 'An `RpcException` with an object arrives as that object, unchanged.', {
      code: 'X',
      status: 418,
      nested: { a: [1] },
    }),
    same('number', 'An `RpcException` with a number has it as its message.', {
      status: 'error',
      message: 42,
    }),
    same('empty-text', 'An `RpcException` with an empty text has it as its message.', {
      status: 'error',
      message: '',
    }),
    different('error-inside', 'An `RpcException` that is given an `Error`.', {
      tcp: { says: 'arrives as `{}`', sees: everyWay({}) },
      mesh: {
        says: 'arrives as `{ status: "error", message }` of it',
        sees: everyWay({ status: 'error', message: 'inner' }),
      },
      why: 'JSON makes `{}` of an `Error`, and the message that the author meant for the caller is lost.',
    }),
    same('error', 'An `Error` is masked as "Internal server error".', MASKED),
    same('string', 'A thrown string is masked, too.', MASKED),
    same('http', 'An `HttpException` is masked, too.', MASKED),
    same('undefined', 'A thrown `undefined` is an error.', MASKED),
    same('null', 'A thrown `null` is an error.', MASKED),
    {
      id: 'errors.logged',
      title: 'An `Error` that is masked is logged by the callee once; an `HttpException` is not logged.',
      both: [1, 0],
      observe: async (stage) => [await logged(stage, 'error'), await logged(stage, 'http')],
    },
    {
      id: 'errors.generator',
      title: 'An error that comes out of an async generator.',
      tcp: { says: 'does not exist: the generator never runs', sees: got({}) },
      mesh: {
        says: 'arrives after the values, in the same shape',
        sees: failed({ status: 'error', message: 'boom' }, 1),
      },
      why: 'Nest does not iterate; the mesh gives such errors the shape that Nest gives to others.',
      async observe(stage) {
        const { client } = await serve(stage);
        return answer(client, 'generator', 'text');
      },
    },
  ],
};
