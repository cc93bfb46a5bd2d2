/** Brings what async generators throw before Nest's exception filters. */
import { Injectable, type CallHandler, type ExecutionContext, type NestInterceptor } from '@nestjs/common';
import { concatMap, from, of, type Observable } from 'rxjs';
import { isStream } from './iterable-reply.js';

/**
 * Handlers may return AsyncIterables without it; but errors that come out of one after the handler has returned pass by Nest's
 * filters, which see Observables only. Bind this interceptor where filters must see them.
 */
@Injectable()
export class AsyncIterableInterceptor implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(concatMap((value: unknown) => (isStream(value) ? from(value) : of(value))));
  }
}
