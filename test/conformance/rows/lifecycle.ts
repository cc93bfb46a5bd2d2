/** Life cycle: hooks, the order of shutdown, and calls that are open meanwhile. */
import { Controller, Injectable } from '@nestjs/common';
import { MessagePattern } from '@nestjs/microservices';
import { interval, Subject, takeUntil, tap } from 'rxjs';
import { eventually, pause } from '../../support/eventually.js';
import { answer, failed, got, settled } from '../outcome.js';
import type { Section } from '../row.js';
import type { AnyServer, Stage } from '../stage.js';

const told: string[] = [];
const over = new Subject<void>();
let ticks = 0;
let letGo: () => void = () => undefined;

@Injectable()
class Told {
  onModuleInit(): void {
    told.push('init');
  }
  onApplicationBootstrap(): void {
    told.push('bootstrap');
  }
  onModuleDestroy(): void {
    told.push('destroy');
  }
  beforeApplicationShutdown(): void {
    told.push('before shutdown');
  }
  onApplicationShutdown(): void {
    told.push('shutdown');
  }
}

@Controller()
class LivingController {
  @MessagePattern('echo')
  echo(data: unknown): unknown {
    return data;
  }
  @MessagePattern('slow')
  slow(data: unknown): Promise<unknown> {
    ticks += 1;
    return new Promise((resolve) => {
      letGo = () => resolve(data);
    });
  }
  @MessagePattern('ticks')
  ticks(): unknown {
    return interval(2).pipe(
      takeUntil(over),
      tap(() => (ticks += 1)),
    );
  }
}

const METADATA = { controllers: [LivingController], providers: [Told] };

/** Notes when the server is closed for the first time. */
function watch(server: AnyServer): void {
  const close = server.close.bind(server);
  server.close = async (): Promise<void> => {
    if (!told.includes('server closed')) told.push('server closed');
    await close();
  };
}

async function hybrid(stage: Stage) {
  told.length = 0;
  const made = await stage.hybrid(METADATA);
  made.app.connectMicroservice({ strategy: made.server });
  return made;
}

export const LIFECYCLE: Section = {
  title: 'Life cycle',
  rows: [
    {
      id: 'lifecycle.start',
      title: 'A standalone microservice runs its hooks before it listens.',
      both: ['init', 'bootstrap', 'listening'],
      async observe(stage) {
        told.length = 0;
        await stage.serve(METADATA, {
          configure(_app, server) {
            const listen = server.listen.bind(server);
            server.listen = (callback: (error?: unknown) => void): void => {
              told.push('listening');
              listen(callback);
            };
          },
        });
        return told;
      },
    },
    {
      id: 'lifecycle.init-twice',
      title: '`init()` and then `listen()` runs the hooks of the start twice, and the service works.',
      both: [['init', 'bootstrap', 'init', 'bootstrap'], got('hello')],
      async observe(stage) {
        told.length = 0;
        const module = await stage.compile(METADATA);
        const server = stage.server();
        const app = stage.keep(module.createNestMicroservice({ strategy: server }));
        await app.init();
        await app.listen();
        return [[...told], await answer(stage.client(server), 'echo', 'hello')];
      },
    },
    {
      id: 'lifecycle.close',
      title: 'A standalone microservice closes its server first, then runs the hooks of the end.',
      both: ['server closed', 'destroy', 'before shutdown', 'shutdown'],
      async observe(stage) {
        const { app } = await stage.serve(METADATA, { configure: (_app, server) => watch(server) });
        told.length = 0;
        await app.close();
        return told;
      },
    },
    {
      id: 'lifecycle.close-hybrid',
      title: 'A hybrid application closes its server after `beforeApplicationShutdown`.',
      both: ['destroy', 'before shutdown', 'server closed', 'shutdown'],
      async observe(stage) {
        const { app, server } = await hybrid(stage);
        watch(server);
        await app.init();
        await app.startAllMicroservices();
        told.length = 0;
        await app.close();
        return told;
      },
    },
    {
      id: 'lifecycle.close-twice',
      title: 'A server may be closed twice, and before it has listened.',
      both: ['closed', 'closed'],
      async observe(stage) {
        const { app, server } = await stage.serve(METADATA);
        await server.close();
        await app.close();
        const unused = stage.server();
        await unused.close();
        return ['closed', 'closed'];
      },
    },
    {
      id: 'lifecycle.open-call',
      title: 'A call that is open when its service closes.',
      tcp: {
        says: 'is cut off: `Connection closed`',
        sees: failed({ is: 'Error', message: 'Connection closed' }),
      },
      mesh: { says: 'is answered: the service closes after it', sees: got('done') },
      why: 'A rolling restart must lose no call; `drainTimeoutMs` bounds the wait.',
      async observe(stage) {
        const { app, client } = await stage.serve(METADATA);
        ticks = 0;
        const call = answer(client, 'slow', 'done');
        await eventually('it is under way', () => ticks === 1);
        const closing = app.close();
        await pause(20);
        letGo();
        await closing;
        return call;
      },
    },
    {
      id: 'lifecycle.producer',
      title: 'An Observable that never ends, once its service has closed.',
      tcp: { says: 'goes on producing', sees: 'goes on' },
      mesh: { says: 'is unsubscribed', sees: 'stopped' },
      why: 'Nobody can get its values any more; `close()` ends what the drain could not wait for.',
      async observe(stage) {
        const { app, client } = await stage.serve(METADATA, { settings: { drainTimeoutMs: 0 } });
        ticks = 0;
        const call = answer(client, 'ticks');
        await eventually('it runs', () => ticks > 0);
        await app.close();
        await call;
        await pause(20);
        const before = ticks;
        await pause(40);
        over.next();
        return ticks > before ? 'goes on' : 'stopped';
      },
    },
    {
      id: 'lifecycle.port-in-use',
      title: '`listen()` on a port that is taken rejects, and names the port.',
      both: [true, true],
      async observe(stage) {
        const { server } = await stage.serve(METADATA);
        const { port } = server.unwrap<{ address(): { port: number } }>().address();
        const module = await stage.compile(METADATA);
        const second = stage.keep(module.createNestMicroservice({ strategy: stage.server({ port }) }));
        const outcome = await settled(
          second.listen().catch((error: Error) => {
            throw new Error(error.message);
          }),
        );
        const { message } = (outcome as { error: { message: string } }).error;
        return [message.includes(String(port)), /EADDRINUSE|in use/i.test(message)];
      },
    },
    {
      id: 'lifecycle.port-free',
      title: 'Once a server has closed, its port is free for another one.',
      both: got('hello'),
      async observe(stage) {
        const first = await stage.serve(METADATA);
        const { port } = first.server.unwrap<{ address(): { port: number } }>().address();
        await answer(first.client, 'echo', 'hello');
        await first.app.close();
        const second = await stage.serve(METADATA, { settings: { port, like: first.server } });
        return answer(second.client, 'echo', 'hello');
      },
    },
    {
      id: 'lifecycle.signals',
      title: 'A hybrid application that is closed leaves no listener on the signals of the process.',
      both: 0,
      async observe(stage) {
        const before = process.listenerCount('SIGTERM');
        const { app } = await hybrid(stage);
        app.enableShutdownHooks(['SIGTERM']);
        await app.init();
        await app.startAllMicroservices();
        await app.close();
        return process.listenerCount('SIGTERM') - before;
      },
    },
    {
      id: 'lifecycle.unwrap',
      title: '`unwrap()` of a server gives the server underneath, once it listens.',
      both: 'number',
      async observe(stage) {
        const { server } = await stage.serve(METADATA);
        return typeof server.unwrap<{ address(): { port: number } }>().address().port;
      },
    },
    {
      id: 'lifecycle.status',
      title: '`status` of a server that listens is "connected".',
      both: 'connected',
      async observe(stage) {
        const { server } = await stage.serve(METADATA);
        let status = '';
        server.status.subscribe((value) => (status = value));
        return status;
      },
    },
  ],
};
