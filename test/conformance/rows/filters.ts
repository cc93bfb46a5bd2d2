/** Filters: what an exception filter makes of an error. */
import { Catch, Controller, UseFilters, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import { BaseRpcExceptionFilter, MessagePattern, RpcException } from '@nestjs/microservices';
import { concat, defer, of, throwError, type Observable } from 'rxjs';
import { answerOrHang, failed, got, hung, MASKED, type Outcome } from '../outcome.js';
import type { Section } from '../row.js';
import type { Stage } from '../stage.js';

/** Does what the message of the error says. */
@Catch()
class TestFilter implements ExceptionFilter {
  catch(exception: { message: string }, host: ArgumentsHost): unknown {
    switch (exception.message) {
      case 'custom':
        return throwError(() => ({ custom: true, kind: host.getType() }));
      case 'data':
        return throwError(() => ({ data: host.switchToRpc().getData<unknown>() }));
      case 'plain value':
        return { filtered: true };
      case 'other stream':
        return of('instead', 'of it');
      case 'real error':
        return throwError(() => new Error('an error object'));
      case 'falsy':
        return throwError(() => '');
      default:
        throw new TypeError('the filter itself fails');
    }
  }
}

@Catch(RpcException)
class OnlyRpc implements ExceptionFilter {
  catch(exception: RpcException): Observable<never> {
    return throwError(() => ({ seen: exception.getError() }));
  }
}

class Extended extends BaseRpcExceptionFilter {
  override catch(exception: RpcException, host: ArgumentsHost): Observable<unknown> {
    return super.catch(new RpcException({ extended: exception.message }), host);
  }
}

@Controller()
class FilteredController {
  @UseFilters(TestFilter)
  @MessagePattern('sync')
  sync(what: string): unknown {
    throw new Error(what);
  }
  @UseFilters(TestFilter)
  @MessagePattern('midway')
  midway(what: string): Observable<unknown> {
    return concat(
      of(1),
      defer(() => throwError(() => new Error(what))),
    );
  }
  @UseFilters(OnlyRpc)
  @MessagePattern('only-rpc')
  onlyRpc(what: string): unknown {
    throw what === 'rpc' ? new RpcException(what) : new Error(what);
  }
  @UseFilters(new Extended())
  @MessagePattern('extended')
  extended(what: string): unknown {
    throw new RpcException(what);
  }
  @MessagePattern('fence')
  fence(): void {}
}

async function outcomes(stage: Stage, what: string, patterns = ['sync', 'midway']): Promise<Outcome[]> {
  const { client } = await stage.serve(FilteredController);
  const seen = [];
  for (const pattern of patterns) seen.push(await answerOrHang(client, pattern, what));
  return seen;
}

const CUSTOM = { custom: true, kind: 'rpc' };

export const FILTERS: Section = {
  title: 'Exception filters',
  rows: [
    {
      id: 'filters.custom',
      title:
        'What a filter throws by `throwError` is what the caller gets, for errors at once and in the middle of a stream.',
      both: [failed(CUSTOM), failed(CUSTOM, 1)],
      observe: (stage) => outcomes(stage, 'custom'),
    },
    {
      id: 'filters.host',
      title: 'A filter sees the data of the call.',
      both: [failed({ data: 'data' })],
      observe: (stage) => outcomes(stage, 'data', ['sync']),
    },
    {
      id: 'filters.choice',
      title: 'A filter of one kind of exception leaves the others as they are.',
      both: [failed({ seen: 'rpc' }), failed(MASKED)],
      async observe(stage) {
        const [rpc] = await outcomes(stage, 'rpc', ['only-rpc']);
        const [other] = await outcomes(stage, 'other', ['only-rpc']);
        return [rpc, other];
      },
    },
    {
      id: 'filters.extended',
      title: 'A filter may extend `BaseRpcExceptionFilter`.',
      both: [failed({ extended: 'boom' })],
      observe: (stage) => outcomes(stage, 'boom', ['extended']),
    },
    {
      id: 'filters.value',
      title: 'A plain value that a filter returns for an error at once is the answer.',
      both: [got({ filtered: true })],
      observe: (stage) => outcomes(stage, 'plain value', ['sync']),
    },
    {
      id: 'filters.stream',
      title: 'An Observable that a filter returns is the answer, also after values.',
      both: [got('instead', 'of it'), got(1, 'instead', 'of it')],
      observe: (stage) => outcomes(stage, 'other stream'),
    },
    {
      id: 'filters.value-midway',
      title: 'A plain value that a filter returns for an error in the middle of a stream.',
      tcp: { says: 'fails with `{}`', sees: [failed({}, 1)] },
      mesh: { says: 'fails: "Internal server error", and logged', sees: [failed(MASKED, 1)] },
      why: 'rxjs throws a `TypeError` there, of which JSON makes `{}`; it is a fault of the program and masked as such.',
      observe: (stage) => outcomes(stage, 'plain value', ['midway']),
    },
    {
      id: 'filters.error',
      title: 'An `Error` that a filter throws by `throwError`.',
      tcp: { says: 'arrives as `{}`', sees: [failed({}), failed({}, 1)] },
      mesh: {
        says: 'arrives as `{ status: "error", message }` of it',
        sees: [
          failed({ status: 'error', message: 'an error object' }),
          failed({ status: 'error', message: 'an error object' }, 1),
        ],
      },
      why: 'JSON makes `{}` of an `Error`, and the message that the filter meant for the caller is lost.',
      observe: (stage) => outcomes(stage, 'real error'),
    },
    {
      id: 'filters.falsy',
      title: 'An error that is an empty string.',
      tcp: { says: 'completes as if nothing had happened', sees: [got(), got(1)] },
      mesh: { says: 'fails: "Internal server error"', sees: [failed(MASKED), failed(MASKED, 1)] },
      why: 'An error must not look like success.',
      observe: (stage) => outcomes(stage, 'falsy'),
    },
    {
      id: 'filters.throws',
      title: 'A filter that throws itself.',
      tcp: { says: 'no answer, ever, for an error at once; `{}` in a stream', sees: [hung(), failed({}, 1)] },
      mesh: { says: 'fails: "Internal server error", and logged', sees: [failed(MASKED), failed(MASKED, 1)] },
      why: 'Nest logs the failure and tells the caller nothing; a caller must never wait for ever.',
      observe: (stage) => outcomes(stage, 'throw'),
    },
  ],
};
