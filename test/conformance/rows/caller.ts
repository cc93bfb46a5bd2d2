/** The caller's side of `send`: cold, shareable, cancellable. */
import { Controller } from '@nestjs/common';
import { MessagePattern, RpcException, type ClientProxy, type ClientTCP } from '@nestjs/microservices';
import {
  finalize,
  firstValueFrom,
  interval,
  NEVER,
  of,
  retry,
  take,
  tap,
  Subject,
  takeUntil,
  timeout,
  type Observable,
} from 'rxjs';
import { eventually, pause } from '../../support/eventually.js';
import { answer, failed, got, outcomeOf, settled } from '../outcome.js';
import type { Section } from '../row.js';
import type { Service, Stage } from '../stage.js';

/** What the handlers of one row saw. */
const seen = { calls: 0, ticks: 0, stopped: 0 };

/** Ends what nobody else would. */
const over = new Subject<void>();

@Controller()
class CalledController {
  @MessagePattern('count')
  count(): number {
    seen.calls += 1;
    return seen.calls;
  }
  @MessagePattern('second-time')
  secondTime(): number {
    seen.calls += 1;
    if (seen.calls === 1) throw new RpcException('not yet');
    return seen.calls;
  }
  @MessagePattern('echo')
  echo(data: unknown): unknown {
    return data;
  }
  @MessagePattern('never')
  never(): Observable<never> {
    seen.calls += 1;
    return NEVER.pipe(finalize(() => (seen.stopped += 1)));
  }
  @MessagePattern('ticks')
  ticks(): Observable<number> {
    return interval(2).pipe(
      takeUntil(over),
      tap(() => (seen.ticks += 1)),
      finalize(() => (seen.stopped += 1)),
    );
  }
  @MessagePattern('few')
  few(): Observable<number> {
    return of(1, 2, 3);
  }
  @MessagePattern('fence')
  fence(): void {}
}

async function serve(stage: Stage): Promise<Service> {
  Object.assign(seen, { calls: 0, ticks: 0, stopped: 0 });
  return stage.serve(CalledController);
}

/** Whether the producer of an answer stops once the caller has left. */
async function leave(stage: Stage, go: (client: ClientProxy) => Promise<unknown>): Promise<string> {
  const { client } = await serve(stage);
  await go(client);
  await answer(client, 'fence');
  // Long enough for many more ticks, if it goes on.
  await pause(40);
  const { ticks } = seen;
  await pause(10);
  const stopped = seen.stopped === 1 && seen.ticks === ticks;
  over.next();
  return stopped ? 'stopped' : 'goes on';
}

const CANCEL = {
  tcp: { says: 'it goes on for ever', sees: 'goes on' },
  mesh: { says: 'it is unsubscribed', sees: 'stopped' },
  why: "Nest's packets have no word for cancel; work for a caller that has left is waste.",
} as const;

const INVALID = { is: 'Error', message: 'The invalid data or message pattern (undefined/null)' };

export const CALLER: Section = {
  title: 'Calls, as the caller sees them',
  rows: [
    {
      id: 'caller.cold',
      title:
        '`send` is cold: nothing is sent before it is subscribed, and every subscription is a call of its own.',
      both: [0, got(1), got(2)],
      async observe(stage) {
        const { client } = await serve(stage);
        const call = client.send('count', {});
        await answer(client, 'fence');
        return [seen.calls, await outcomeOf(call), await outcomeOf(call)];
      },
    },
    {
      id: 'caller.retry',
      title: '`retry()` calls again.',
      both: got(2),
      async observe(stage) {
        const { client } = await serve(stage);
        return outcomeOf(client.send('second-time', {}).pipe(retry(1)));
      },
    },
    {
      id: 'caller.nil',
      title: 'A pattern or data that is `null` or `undefined` fails when subscribed, for `send` and `emit`.',
      both: Array.from({ length: 8 }, () => failed(INVALID)),
      async observe(stage) {
        const { client } = await serve(stage);
        const outcomes = [];
        for (const nil of [null, undefined]) {
          outcomes.push(await outcomeOf(client.send(nil, {})), await outcomeOf(client.send('echo', nil)));
          outcomes.push(await outcomeOf(client.emit(nil, {})), await outcomeOf(client.emit('echo', nil)));
        }
        return outcomes;
      },
    },
    {
      id: 'caller.falsy-data',
      title: '`""`, `0` and `false` are data.',
      both: [got(''), got(0), got(false)],
      async observe(stage) {
        const { client } = await serve(stage);
        return [
          await answer(client, 'echo', ''),
          await answer(client, 'echo', 0),
          await answer(client, 'echo', false),
        ];
      },
    },
    {
      id: 'caller.not-json',
      title: 'Data that is no JSON fails the call, and the client lives on.',
      tcp: {
        says: 'with the `TypeError` of `JSON.stringify`',
        sees: [failed({ is: 'TypeError', message: 'Do not know how to serialize a BigInt' }), got('after')],
      },
      mesh: {
        says: 'with `INVALID_ARGUMENT`, `not-sent`',
        sees: [failed({ is: 'MeshError', code: 'INVALID_ARGUMENT', delivery: 'not-sent' }), got('after')],
      },
      packed: { says: 'a BigInt of 64 bits arrives', sees: [got({ big: 1 }), got('after')] },
      why: 'What the transport itself reports is a `MeshError`, which names the pattern and says whether the call may have run.',
      async observe(stage) {
        const { client } = await serve(stage);
        return [await answer(client, 'echo', { big: 1n }), await answer(client, 'echo', 'after')];
      },
    },
    {
      id: 'caller.take',
      title: 'A caller that takes the first values gets no more.',
      both: got(0, 1),
      async observe(stage) {
        const { client } = await serve(stage);
        const outcome = await outcomeOf(client.send('ticks', {}).pipe(take(2)));
        over.next();
        return outcome;
      },
    },
    {
      id: 'caller.take-stops',
      title: 'The Observable of a handler whose caller has taken what it wants.',
      ...CANCEL,
      observe: (stage) => leave(stage, (client) => firstValueFrom(client.send('ticks', {}))),
    },
    {
      id: 'caller.unsubscribe',
      title: 'The Observable of a handler whose caller has unsubscribed.',
      ...CANCEL,
      observe: (stage) =>
        leave(stage, async (client) => {
          const subscription = client.send('ticks', {}).subscribe();
          await eventually('it runs', () => seen.ticks > 0);
          subscription.unsubscribe();
        }),
    },
    {
      id: 'caller.timeout-stops',
      title: 'The Observable of a handler whose caller has given up by `timeout()`.',
      ...CANCEL,
      observe: (stage) =>
        leave(stage, async (client) => {
          // Given up before it came to the handler, it proves nothing.
          for (let limitMs = 30; seen.calls === 0; limitMs *= 2)
            await settled(firstValueFrom(client.send('never', {}).pipe(timeout(limitMs))));
        }),
    },
    {
      id: 'caller.timeout',
      title: '`timeout()` of rxjs ends a call that is not answered.',
      both: { error: { is: 'TimeoutError', message: 'Timeout has occurred' } },
      async observe(stage) {
        const { client } = await serve(stage);
        return settled(firstValueFrom(client.send('never', {}).pipe(timeout(30))));
      },
    },
    {
      id: 'caller.no-answer',
      title: 'A call that the handler never answers, and that nobody ends.',
      tcp: { none: 'waits for ever' },
      mesh: {
        says: 'fails with `DEADLINE_EXCEEDED` after `timeoutMs` (30 s unless set)',
        sees: failed({ is: 'MeshError', code: 'DEADLINE_EXCEEDED', delivery: 'unknown' }),
      },
      why: 'No default leaves a caller waiting for ever; `timeoutMs: 0` switches the limit off.',
      async observe(stage) {
        const { server } = await serve(stage);
        const client = stage.client(server, { timeoutMs: 250 });
        await answer(client, 'fence');
        return answer(client, 'never');
      },
    },
    {
      id: 'caller.early-leave',
      title: 'A call that is unsubscribed in the same turn never reaches the handler.',
      both: 0,
      async observe(stage) {
        const { client } = await serve(stage);
        client.send('count', {}).subscribe().unsubscribe();
        await answer(client, 'fence');
        return seen.calls;
      },
    },
    {
      id: 'caller.serialize',
      title:
        'A subclass of the client can change answers and errors by `serializeResponse` and `serializeError`.',
      both: [got({ changed: 1 }, { changed: 2 }, { changed: 3 }), failed({ worded: 'not yet' })],
      async observe(stage) {
        const { server } = await serve(stage);
        const { customClass, options } = stage.recipe(server);
        // Whatever class it is: the two methods are those of Nest's `ClientProxy`.
        const Base = customClass as unknown as typeof ClientTCP;
        class Changed extends Base {
          protected override serializeResponse(response: unknown): unknown {
            return { changed: response };
          }
          protected override serializeError({ message }: { message: string }): unknown {
            return { worded: message };
          }
        }
        const client = stage.keep(new Changed(options as never) as unknown as ClientProxy);
        return [await answer(client, 'few'), await answer(client, 'second-time')];
      },
    },
    {
      id: 'caller.serialize-throws',
      title: 'A `serializeResponse` of a subclass that throws.',
      tcp: { none: 'an unhandled rejection, which ends the process; the call is never told' },
      mesh: {
        says: 'fails the call with what it threw',
        sees: [failed({ is: 'Error', message: 'the subclass fails' }), 'stopped'],
      },
      why: 'A fault in the code of one caller is told to that caller and to nobody else.',
      async observe(stage) {
        const { server } = await serve(stage);
        const { customClass, options } = stage.recipe(server);
        const Base = customClass as unknown as typeof ClientTCP;
        class Failing extends Base {
          protected override serializeResponse(): unknown {
            throw new Error('the subclass fails');
          }
        }
        const client = stage.keep(new Failing(options as never) as unknown as ClientProxy);
        const outcome = await answer(client, 'ticks');
        await eventually('the handler is cancelled', () => seen.stopped === 1);
        return [outcome, 'stopped'];
      },
    },
  ],
};
