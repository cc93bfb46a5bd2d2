/** Connections: what calls and clients see when one is not there, goes away and comes back. */
import { Controller } from '@nestjs/common';
import { MessagePattern, type ClientProxy } from '@nestjs/microservices';
import { NEVER, of, type Observable } from 'rxjs';
import { eventually, pause } from '../../support/eventually.js';
import { answer, failed, got, outcomeOf, settled, shown, type Outcome } from '../outcome.js';
import type { Section } from '../row.js';
import type { AnyServer, Service, Stage } from '../stage.js';

let calls = 0;

@Controller()
class RemoteController {
  @MessagePattern('echo')
  echo(data: unknown): unknown {
    return data;
  }
  @MessagePattern('few')
  few(): Observable<number> {
    return of(1, 2, 3);
  }
  @MessagePattern('never')
  never(): Observable<never> {
    calls += 1;
    return NEVER;
  }
}

const serve = (stage: Stage, like?: AnyServer): Promise<Service> =>
  stage.serve(RemoteController, { settings: { drainTimeoutMs: 0, ...(like && { like }) } });

/** A service that was there and is gone. */
async function gone(stage: Stage): Promise<AnyServer> {
  const { app, server } = await serve(stage);
  await app.close();
  return server;
}

/** A client hears of the end of its connection a moment after the server has closed it. */
const noticed = (): Promise<void> => pause(20);

/** Calls that are open when `cut` ends them. */
async function cutOff(stage: Stage, cut: (service: Service) => unknown): Promise<Outcome[]> {
  const service = await serve(stage);
  calls = 0;
  const open = [1, 2, 3].map(() => answer(service.client, 'never'));
  await eventually('all are under way', () => calls === 3);
  await cut(service);
  return Promise.all(open);
}

const CLOSED = { is: 'Error', message: 'Connection closed' };
const LOST = { is: 'MeshError', code: 'UNAVAILABLE', delivery: 'unknown' };
const MESH_ERROR =
  'What the transport itself reports is a `MeshError`: its code and delivery state say whether to call again.';

export const CONNECTION: Section = {
  title: 'Connections',
  rows: [
    {
      id: 'connection.lazy',
      title: 'A client connects by itself at the first call.',
      both: got('hello'),
      async observe(stage) {
        const { client } = await serve(stage);
        return answer(client, 'echo', 'hello');
      },
    },
    {
      id: 'connection.connect',
      title: '`connect()` can be called before, between and beside calls, as often as one likes.',
      both: [got('a'), got('b')],
      async observe(stage) {
        const { client } = await serve(stage);
        await Promise.all([client.connect(), client.connect()]);
        const first = await answer(client, 'echo', 'a');
        await client.connect();
        return [first, await answer(client, 'echo', 'b')];
      },
    },
    {
      id: 'connection.refused',
      title: 'A call to a service that is not there.',
      tcp: {
        says: 'fails at once: `ECONNREFUSED`',
        sees: 'ECONNREFUSED',
      },
      mesh: {
        says: 'waits for it within its own time limit, then fails with `UNAVAILABLE`, `not-sent`',
        sees: { is: 'MeshError', code: 'UNAVAILABLE', delivery: 'not-sent' },
      },
      why: 'Services start in any order and move about; a call can wait as long as its caller can.',
      async observe(stage) {
        const client = stage.client(await gone(stage), { timeoutMs: 60 });
        const { error } = await answer(client, 'echo');
        return stage.kind === 'tcp' ? (error as { code: unknown }).code : error;
      },
    },
    {
      id: 'connection.late',
      title: 'A call to a service that comes a moment later.',
      tcp: { says: 'has failed: `ECONNREFUSED`', sees: 'ECONNREFUSED' },
      mesh: { says: 'is answered', sees: got('hello') },
      why: 'Services start in any order and move about; a call can wait as long as its caller can.',
      async observe(stage) {
        const server = await gone(stage);
        const call = answer(stage.client(server), 'echo', 'hello');
        await pause(20);
        await serve(stage, server);
        const outcome = await call;
        return stage.kind === 'tcp' ? (outcome.error as { code: unknown }).code : outcome;
      },
    },
    {
      id: 'connection.after-refused',
      title: 'A client whose first attempt has failed reaches the service once it is there.',
      both: got('hello'),
      async observe(stage) {
        const server = await gone(stage);
        const client = stage.client(server, { timeoutMs: stage.kind === 'tcp' ? 0 : 2_000 });
        if (stage.kind === 'tcp') {
          await answer(client, 'echo');
          await noticed();
        }
        await serve(stage, server);
        return answer(client, 'echo', 'hello');
      },
    },
    {
      id: 'connection.lost',
      title: 'The calls that are open when the service goes away fail, all of them.',
      tcp: {
        says: 'with `Error: Connection closed`',
        sees: [failed(CLOSED), failed(CLOSED), failed(CLOSED)],
      },
      mesh: {
        says: 'with `UNAVAILABLE`, delivery `unknown`',
        sees: [failed(LOST), failed(LOST), failed(LOST)],
      },
      why: MESH_ERROR,
      observe: (stage) => cutOff(stage, ({ app }) => app.close()),
    },
    {
      id: 'connection.closed',
      title: 'The calls that are open when the client is closed fail, all of them.',
      tcp: {
        says: 'with `Error: Connection closed`',
        sees: [failed(CLOSED), failed(CLOSED), failed(CLOSED)],
      },
      mesh: {
        says: 'with `UNAVAILABLE`, delivery `unknown`',
        sees: [failed(LOST), failed(LOST), failed(LOST)],
      },
      why: MESH_ERROR,
      observe: (stage) => cutOff(stage, ({ client }) => client.close()),
    },
    {
      id: 'connection.failing-callback',
      title: 'A caller that throws when its call fails does not keep the others from being told.',
      both: ['told', 'told'],
      async observe(stage) {
        const { client } = await serve(stage);
        calls = 0;
        const told: string[] = [];
        const listen = (): void =>
          void client.send('never', {}).subscribe({
            error: () => {
              told.push('told');
            },
          });
        listen();
        // Reaches the callback of the transport itself, without the net of rxjs.
        const raw = client as unknown as {
          publish(packet: unknown, callback: () => never): () => void;
        };
        raw.publish({ pattern: 'never', data: {} }, () => {
          throw new Error('the callback fails');
        });
        listen();
        await eventually('all are under way', () => calls === 3);
        await client.close();
        return told;
      },
    },
    {
      id: 'connection.again',
      title: 'The next call after the service has come back is answered, without a step by the caller.',
      both: [got('before'), got('after')],
      async observe(stage) {
        const first = await serve(stage);
        const before = await answer(first.client, 'echo', 'before');
        await first.app.close();
        await noticed();
        await serve(stage, first.server);
        return [before, await answer(first.client, 'echo', 'after')];
      },
    },
    {
      id: 'connection.close-and-call',
      title: 'A client that was closed connects again at the next call.',
      both: [got('before'), got('after')],
      async observe(stage) {
        const { client } = await serve(stage);
        const before = await answer(client, 'echo', 'before');
        await client.close();
        return [before, await answer(client, 'echo', 'after')];
      },
    },
    {
      id: 'connection.close-while-connecting',
      title:
        'Closed while it connects and connected again, a client gets whole streams: the old socket does no harm.',
      both: [got(1, 2, 3), got(1, 2, 3)],
      async observe(stage) {
        const { client } = await serve(stage);
        const connecting = settled(client.connect());
        const closing = client.close();
        const again = client.connect();
        await Promise.all([closing, again]);
        const first = await answer(client, 'few');
        await connecting;
        return [first, await answer(client, 'few')];
      },
    },
    {
      id: 'connection.close-twice',
      title: 'Closing a client twice, or one that never connected, does nothing.',
      both: 'closed',
      async observe(stage) {
        const { server, client } = await serve(stage);
        await stage.client(server).close();
        await answer(client, 'echo');
        await client.close();
        await client.close();
        return 'closed';
      },
    },
    {
      id: 'connection.lost-event',
      title: 'An event that could not be sent and that nobody has subscribed to.',
      tcp: { says: 'is lost without a word', sees: 0 },
      mesh: { says: 'is logged as an error', sees: 1 },
      why: 'Nothing is lost silently.',
      async observe(stage) {
        const service = await serve(stage);
        await service.app.close();
        const client = stage.client(service.server, { timeoutMs: 30 });
        client.emit('nobody', {});
        await settled(eventually('it is logged', () => service.logs.find('error', 'nobody').length > 0, 300));
        return service.logs.find('error', 'nobody').length;
      },
    },
    {
      id: 'connection.lost-event-told',
      title: 'An event that could not be sent fails for a subscriber.',
      both: true,
      async observe(stage) {
        const client = stage.client(await gone(stage), { timeoutMs: 30 });
        const { error } = await outcomeOf(client.emit('nobody', {}));
        return error !== undefined;
      },
    },
    {
      id: 'connection.too-large',
      title: 'A message that is larger than the server takes.',
      tcp: { says: 'ends the connection, and every call on it', sees: [false, failed(CLOSED)] },
      mesh: {
        says: 'fails that call with `RESOURCE_EXHAUSTED`; the others go on',
        sees: [failed({ is: 'MeshError', code: 'RESOURCE_EXHAUSTED', delivery: 'refused' }), got('after')],
      },
      why: 'One careless caller must not end the calls of all others.',
      async observe(stage) {
        const { client } = await stage.serve(RemoteController, {
          settings: { maxMessageBytes: 4_096, drainTimeoutMs: 0 },
        });
        await answer(client, 'echo');
        const other = stage.kind === 'tcp' ? answer(client, 'never') : undefined;
        const large = await answer(client, 'echo', 'x'.repeat(10_000));
        return stage.kind === 'tcp'
          ? [large.error === undefined, await other]
          : [large, await answer(client, 'echo', 'after')];
      },
    },
    {
      id: 'connection.status',
      title: '`status` of a client tells of its connection.',
      tcp: { says: 'to the server', sees: ['connected', 'disconnected'] },
      mesh: { says: 'to the registry', sees: ['disconnected', 'connected'] },
      why: 'A mesh client has as many connections as there are nodes; what it depends on is the registry.',
      async observe(stage) {
        const { client } = await serve(stage);
        const told: string[] = [];
        client.status.subscribe((status) => told.push(status));
        await answer(client, 'echo');
        if (stage.kind === 'tcp') {
          client.close();
          await eventually('it is told', () => told.length === 2);
        }
        return told;
      },
    },
    {
      id: 'connection.unwrap',
      title: '`unwrap()` of a client gives what is underneath.',
      tcp: { says: 'the socket; throws before `connect()`', sees: ['throws', 'Socket'] },
      mesh: { says: 'the `MeshNode`, at any time', sees: ['MeshNode', 'MeshNode'] },
      why: 'A mesh client has many connections, and they come and go; the node is what lasts.',
      async observe(stage) {
        const { client } = await serve(stage);
        const before = unwrapped(client);
        await answer(client, 'echo');
        return [before, unwrapped(client)];
      },
    },
  ],
};

function unwrapped(client: ClientProxy): unknown {
  try {
    return client.unwrap<object>().constructor.name;
  } catch (error) {
    return (shown(error) as { is: string }).is === 'Error' ? 'throws' : error;
  }
}
