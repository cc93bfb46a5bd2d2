/** Events: every handler runs, nobody waits, nothing is answered. */
import { Controller } from '@nestjs/common';
import { EventPattern, MessagePattern, RpcException } from '@nestjs/microservices';
import { EMPTY, lastValueFrom, map, of, tap, throwError, timer, type Observable } from 'rxjs';
import { eventually, pause } from '../../support/eventually.js';
import { answer, got, outcomeOf } from '../outcome.js';
import type { Section } from '../row.js';
import type { Service, Stage } from '../stage.js';

const seen: unknown[] = [];

/** Long enough that a handler which has ended at once could have taken it along. */
const LATER_MS = 25;

@Controller()
class FirstController {
  @EventPattern<unknown>('several')
  one(data: unknown): void {
    seen.push(['one', data]);
  }
  @EventPattern<unknown>('several')
  async two(data: unknown): Promise<void> {
    seen.push(['two', data]);
  }
  @EventPattern<unknown>('beside-empty')
  empty(): Observable<never> {
    return EMPTY;
  }
  @EventPattern<unknown>('beside-failing')
  failing(): Observable<never> {
    return throwError(() => new RpcException('boom'));
  }
  @EventPattern<unknown>(['beside-empty', 'beside-failing'])
  later(): Observable<unknown> {
    return timer(LATER_MS).pipe(tap(() => seen.push('later')));
  }
  @EventPattern<unknown>('observable')
  observable(): Observable<unknown> {
    return of(1, 2, 3).pipe(tap((value) => seen.push(value)));
  }
  @EventPattern<unknown>('generator')
  async *generator(): AsyncIterable<number> {
    for (const value of [1, 2, 3]) {
      seen.push(value);
      yield value;
    }
  }
  @EventPattern<unknown>('throws')
  throws(): void {
    seen.push('throws');
    throw new Error('the cause');
  }
  @EventPattern<unknown>('throws-rpc')
  throwsRpc(): void {
    seen.push('throws');
    throw new RpcException('the cause');
  }
  @EventPattern<unknown>('numbered')
  numbered(data: unknown): void {
    seen.push(data);
  }
  @MessagePattern('seen')
  seen(): unknown {
    return [...seen];
  }
  @MessagePattern('fence')
  fence(): void {}
}

@Controller()
class SecondController {
  @EventPattern<unknown>('several')
  three(data: unknown): void {
    seen.push(['three', data]);
  }
}

async function serve(stage: Stage): Promise<Service> {
  seen.length = 0;
  return stage.serve({ controllers: [FirstController, SecondController] });
}

/** What handlers did with an event, once a later call was answered and their own time is over as well. */
async function doneBy(stage: Stage, pattern: string): Promise<unknown[]> {
  const { client } = await serve(stage);
  client.emit(pattern, {});
  await answer(client, 'fence');
  await pause(4 * LATER_MS);
  return [...seen];
}

/** What is logged of an event, without who logs it. */
async function loggedOf(stage: Stage, pattern: string, cause: string): Promise<unknown> {
  const { client, logs } = await serve(stage);
  client.emit(pattern, {});
  await eventually('it is logged', () => logs.find('error', cause).length > 0);
  return [logs.find('error', cause).length, await answer(client, 'fence')];
}

const ISOLATED =
  'Nest joins the handlers by `forkJoin`, where one ends all; a handler must not depend on its neighbours.';

export const EVENTS: Section = {
  title: 'Events',
  rows: [
    {
      id: 'events.several',
      title: 'Every handler of an event runs, in the order of declaration, with the data.',
      both: [
        ['one', { n: 1 }],
        ['two', { n: 1 }],
        ['three', { n: 1 }],
      ],
      async observe(stage) {
        const { client } = await serve(stage);
        client.emit('several', { n: 1 });
        await eventually('all have run', () => seen.length >= 3);
        return [...seen];
      },
    },
    {
      id: 'events.beside-empty',
      title: 'A handler whose Observable completes empty, beside one that is still at work.',
      tcp: { says: 'the other one is unsubscribed', sees: [] },
      mesh: { says: 'the other one runs to its end', sees: ['later'] },
      why: ISOLATED,
      observe: (stage) => doneBy(stage, 'beside-empty'),
    },
    {
      id: 'events.beside-failing',
      title: 'A handler whose Observable fails, beside one that is still at work.',
      tcp: { says: 'the other one is unsubscribed', sees: [] },
      mesh: { says: 'the other one runs to its end', sees: ['later'] },
      why: ISOLATED,
      observe: (stage) => doneBy(stage, 'beside-failing'),
    },
    {
      id: 'events.observable',
      title: 'The Observable that a handler returns is subscribed and runs to its end.',
      both: [1, 2, 3],
      observe: (stage) => doneBy(stage, 'observable'),
    },
    {
      id: 'events.generator',
      title: 'The async generator that a handler is.',
      tcp: { says: 'never runs', sees: [] },
      mesh: { says: 'runs to its end', sees: [1, 2, 3] },
      why: 'A handler that silently does nothing is a trap.',
      observe: (stage) => doneBy(stage, 'generator'),
    },
    {
      id: 'events.unknown',
      title: 'An event that nobody handles is logged as an error by the receiver, which lives on.',
      both: [1, got()],
      observe: (stage) =>
        loggedOf(stage, 'nobody', 'There is no matching event handler defined in the remote service.'),
    },
    {
      id: 'events.throws',
      title: 'What an event handler throws is logged once, and the service lives on.',
      both: [1, got()],
      observe: (stage) => loggedOf(stage, 'throws', 'the cause'),
    },
    {
      id: 'events.throws-rpc',
      title: 'An RpcException that no filter has caught is logged when an event handler throws it, too.',
      both: [1, got()],
      observe: (stage) => loggedOf(stage, 'throws-rpc', 'the cause'),
    },
    {
      id: 'events.order',
      title: 'Events of one client arrive in order, and before the calls that were made after them.',
      both: got(Array.from({ length: 200 }, (_, at) => at)),
      async observe(stage) {
        const { client } = await serve(stage);
        for (let at = 0; at < 200; at += 1) client.emit('numbered', at);
        return answer(client, 'seen');
      },
    },
    {
      id: 'events.hot',
      title: '`emit` sends at once, without a subscriber, and only once, however often it is subscribed.',
      both: ['data'],
      async observe(stage) {
        const { client } = await serve(stage);
        const emitted = client.emit('numbered', 'data');
        await answer(client, 'fence');
        await lastValueFrom(emitted, { defaultValue: undefined });
        await lastValueFrom(emitted, { defaultValue: undefined });
        await answer(client, 'fence');
        return [...seen];
      },
    },
    {
      id: 'events.completes',
      title:
        '`emit` gives a subscriber `undefined` and completes once the event is handed over; a late one gets the end alone.',
      both: [got('undefined'), got()],
      async observe(stage) {
        const { client } = await serve(stage);
        const emitted = client.emit('numbered', 1);
        const early = await outcomeOf(emitted.pipe(map(String)));
        return [early, await outcomeOf(emitted)];
      },
    },
  ],
};
