/** Hooks and metadata: what tracing tools put around handlers and into packets. */
import { Controller } from '@nestjs/common';
import {
  Ctx,
  EventPattern,
  MessagePattern,
  Payload,
  RpcException,
  type BaseRpcContext,
  type ClientProxy,
} from '@nestjs/microservices';
import { concat, NEVER, of, throwError, timer, type Observable } from 'rxjs';
import { eventually, pause } from '../../support/eventually.js';
import { answer, failed, got } from '../outcome.js';
import type { Section } from '../row.js';
import type { AnyServer, Service, Stage } from '../stage.js';

interface MetadataContext extends BaseRpcContext {
  getMetadata(): unknown;
  getPattern(): string;
}

const told: unknown[] = [];

/** What JSON would leave out must show. */
function asText(value: unknown): string {
  return value === undefined ? 'undefined' : JSON.stringify(value);
}

@Controller()
class HookedController {
  @MessagePattern('value')
  value(data: unknown): unknown {
    told.push('handler');
    return data;
  }
  @MessagePattern('stream')
  stream(): Observable<number> {
    told.push('handler');
    return concat(timer(5), of(1));
  }
  @MessagePattern('throws')
  throws(): unknown {
    told.push('handler');
    throw new RpcException('boom');
  }
  @MessagePattern('midway')
  midway(): Observable<number> {
    told.push('handler');
    return concat(
      of(1),
      throwError(() => new RpcException('boom')),
    );
  }
  @MessagePattern('never')
  never(): Observable<never> {
    told.push('handler');
    return NEVER;
  }
  @EventPattern<unknown>('event')
  event(): void {
    told.push('handler');
  }
  @EventPattern<unknown>('failing-event')
  failingEvent(): void {
    told.push('handler');
    throw new RpcException('boom');
  }
  @MessagePattern('metadata')
  metadata(@Payload() data: unknown, @Ctx() ctx: MetadataContext): unknown {
    return { data, metadata: asText(ctx.getMetadata()) };
  }
  @EventPattern<unknown>('metadata-event')
  metadataEvent(@Payload() data: unknown, @Ctx() ctx: MetadataContext): void {
    told.push({ data, metadata: asText(ctx.getMetadata()) });
  }
  @MessagePattern('fence')
  fence(): void {}
}

type StartHook = (transport: unknown, context: unknown, done: () => Promise<unknown>) => Promise<unknown>;

/** Nest's type says that nothing is returned, and waits for what is. */
function onStart(server: AnyServer, startHook: StartHook): void {
  server.setOnProcessingStartHook(startHook as Parameters<AnyServer['setOnProcessingStartHook']>[0]);
}

function hook(server: AnyServer): void {
  onStart(server, (transport, context, done) => {
    if ((context as MetadataContext).getPattern() === 'fence') return done();
    told.push(transport === server.transportId ? 'start' : 'start of another');
    return done();
  });
  server.setOnProcessingEndHook((_transport, context) => {
    if ((context as MetadataContext).getPattern() !== 'fence') told.push('end');
  });
}

async function hooked(stage: Stage): Promise<Service> {
  told.length = 0;
  return stage.serve(HookedController, { configure: (_app, server) => hook(server) });
}

async function serve(stage: Stage): Promise<Service> {
  told.length = 0;
  return stage.serve(HookedController);
}

type HookedPacket = { pattern: unknown; metadata?: Record<string, string> };

/** Counts packets, and says so in the metadata. */
function countPackets(client: ClientProxy): () => number {
  let packets = 0;
  client.setOnDispatchHook((packet: HookedPacket) => {
    packets += 1;
    packet.metadata = { packet: String(packets) };
  });
  return () => packets;
}

const AROUND = ['start', 'handler', 'end'];

export const HOOKS: Section = {
  title: 'Hooks and metadata',
  rows: [
    {
      id: 'hooks.calls',
      title:
        'The processing hooks run once around a call: a value, a stream, an error at once and in a stream.',
      both: [...AROUND, ...AROUND, ...AROUND, ...AROUND],
      async observe(stage) {
        const { client } = await hooked(stage);
        for (const [at, pattern] of ['value', 'stream', 'throws', 'midway'].entries()) {
          await answer(client, pattern);
          await eventually('the end hook runs', () => told.length === 3 * (at + 1));
        }
        await answer(client, 'fence');
        return told;
      },
    },
    {
      id: 'hooks.events',
      title: 'They run once around an event, also one that fails.',
      both: [...AROUND, ...AROUND],
      async observe(stage) {
        const { client } = await hooked(stage);
        client.emit('event', {});
        await eventually('the end hook runs', () => told.length === 3);
        client.emit('failing-event', {});
        await eventually('the end hook runs', () => told.length === 6);
        await answer(client, 'fence');
        return told;
      },
    },
    {
      id: 'hooks.cancelled',
      title: 'The end hook of a call whose caller has left.',
      tcp: { says: 'never runs', sees: ['start', 'handler'] },
      mesh: { says: 'runs once', sees: AROUND },
      why: 'The mesh cancels the handler, so that its span has an end.',
      async observe(stage) {
        const { client } = await hooked(stage);
        const subscription = client.send('never', {}).subscribe();
        await eventually('it runs', () => told.length === 2);
        subscription.unsubscribe();
        await answer(client, 'fence');
        await pause(30);
        return told;
      },
    },
    {
      id: 'hooks.wait',
      title: 'The handler waits for a start hook that waits; hooks may be set after the server listens.',
      both: ['waited', 'handler'],
      async observe(stage) {
        const { client, server } = await serve(stage);
        await answer(client, 'fence');
        onStart(server, async (_transport, _context, done) => {
          await pause(10);
          told.push('waited');
          await done();
        });
        await answer(client, 'value');
        return told;
      },
    },
    {
      id: 'hooks.done',
      title: 'The promise that a start hook gets from `done()`, for an event handler that fails.',
      both: ['resolved'],
      async observe(stage) {
        const { client, server } = await serve(stage);
        const outcomes: string[] = [];
        onStart(server, (_transport, _context, done) =>
          done().then(
            () => outcomes.push('resolved'),
            () => outcomes.push('rejected'),
          ),
        );
        client.emit('failing-event', {});
        await eventually('it has settled', () => outcomes.length > 0);
        return outcomes;
      },
    },
    {
      id: 'hooks.dispatch',
      title:
        'The dispatch hook of a client runs once for each packet of `send` and `emit`; its metadata reaches the context beside the data.',
      both: [
        got({ data: { a: 1 }, metadata: '{"packet":"1"}' }),
        got({ data: { a: 1 }, metadata: '{"packet":"2"}' }),
        [{ data: { b: 1 }, metadata: '{"packet":"3"}' }],
        3,
      ],
      async observe(stage) {
        const { client } = await serve(stage);
        const packets = countPackets(client);
        const first = await answer(client, 'metadata', { a: 1 });
        const second = await answer(client, 'metadata', { a: 1 });
        client.emit('metadata-event', { b: 1 });
        await eventually('the event arrives', () => told.length === 1);
        return [first, second, told, packets()];
      },
    },
    {
      id: 'hooks.no-metadata',
      title: 'Without metadata the context has none.',
      both: [got({ data: 1, metadata: 'undefined' }), [{ data: 2, metadata: 'undefined' }]],
      async observe(stage) {
        const { client } = await serve(stage);
        const called = await answer(client, 'metadata', 1);
        client.emit('metadata-event', 2);
        await eventually('the event arrives', () => told.length === 1);
        return [called, told];
      },
    },
    {
      id: 'hooks.dispatch-throws',
      title: 'A dispatch hook that throws fails the call.',
      both: [failed({ is: 'Error', message: 'the hook fails' }), []],
      async observe(stage) {
        const { client } = await serve(stage);
        client.setOnDispatchHook(() => {
          throw new Error('the hook fails');
        });
        const called = await answer(client, 'value');
        return [called, told];
      },
    },
  ],
};
