/** Hybrid applications: what a connected microservice shares with its application; and clients from modules. */
import { Controller, Inject, Injectable, type CanActivate } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { ClientsModule, MessagePattern, type ClientProxy } from '@nestjs/microservices';
import { answer, got } from '../outcome.js';
import type { Section } from '../row.js';
import type { Stage } from '../stage.js';

const told: string[] = [];

class TellingGuard implements CanActivate {
  constructor(private readonly word: string) {}
  canActivate(): boolean {
    told.push(this.word);
    return true;
  }
}

@Injectable()
class AppGuard extends TellingGuard {
  constructor() {
    super('APP_GUARD');
  }
}

@Controller()
class GuardedController {
  @MessagePattern('echo')
  echo(data: unknown): unknown {
    return data;
  }
}

@Controller()
class CallingController {
  constructor(@Inject('REMOTE') readonly remote: ClientProxy) {}
  @MessagePattern('forward')
  forward(data: unknown): unknown {
    return this.remote.send('echo', data);
  }
}

interface Order {
  readonly inheritAppConfig?: boolean;
  readonly deferInitialization?: boolean;
  /** Global guards of the application are set after it was connected. */
  readonly late?: boolean;
  /** A guard of the connected microservice itself. */
  readonly own?: boolean;
}

/** Which guards run for a call to a hybrid application. */
async function guards(
  stage: Stage,
  { inheritAppConfig, deferInitialization, late, own }: Order,
): Promise<string[]> {
  told.length = 0;
  const { app, server } = await stage.hybrid({
    controllers: [GuardedController],
    providers: [{ provide: APP_GUARD, useClass: AppGuard }],
  });
  if (late !== true) app.useGlobalGuards(new TellingGuard('useGlobalGuards'));
  const connected = app.connectMicroservice(
    { strategy: server },
    { inheritAppConfig: inheritAppConfig ?? false, deferInitialization: deferInitialization ?? false },
  );
  if (late === true) app.useGlobalGuards(new TellingGuard('useGlobalGuards'));
  if (own === true) connected.useGlobalGuards(new TellingGuard('its own'));
  await app.init();
  await app.startAllMicroservices();
  await answer(stage.client(server), 'echo');
  return told.toSorted((a, b) => a.localeCompare(b));
}

export const HYBRID: Section = {
  title: 'Hybrid applications and modules',
  rows: [
    {
      id: 'hybrid.own-config',
      title: 'Global and `APP_*` enhancers of the application do not hold for a connected microservice.',
      both: [],
      observe: (stage) => guards(stage, {}),
    },
    {
      id: 'hybrid.inherit',
      title: 'With `inheritAppConfig` they do.',
      both: ['APP_GUARD', 'useGlobalGuards'],
      observe: (stage) => guards(stage, { inheritAppConfig: true }),
    },
    {
      id: 'hybrid.inherit-late',
      title:
        'Global enhancers that are set after `connectMicroservice` are not seen, also with `inheritAppConfig`.',
      both: ['APP_GUARD'],
      observe: (stage) => guards(stage, { inheritAppConfig: true, late: true }),
    },
    {
      id: 'hybrid.own-late',
      title: 'Enhancers that are given to the connected microservice itself have no effect.',
      both: [],
      observe: (stage) => guards(stage, { own: true }),
    },
    {
      id: 'hybrid.deferred',
      title: 'With `deferInitialization` they have.',
      both: ['its own'],
      observe: (stage) => guards(stage, { own: true, deferInitialization: true }),
    },
    {
      id: 'hybrid.register',
      title:
        '`ClientsModule.register` makes a client of a `customClass` that is injected, and closes it with the application.',
      both: [got('hello'), 1],
      async observe(stage) {
        const remote = await stage.serve(GuardedController);
        const { customClass, options } = stage.recipe(remote.server);
        const { client, module, app } = await stage.serve({
          imports: [ClientsModule.register([{ name: 'REMOTE', customClass, options }])],
          controllers: [CallingController],
        });
        const answered = await answer(client, 'forward', 'hello');
        return [answered, await closings(module.get<ClientProxy>('REMOTE'), () => app.close())];
      },
    },
    {
      id: 'hybrid.register-async',
      title: '`ClientsModule.registerAsync` does so with options that come from a factory.',
      both: got('hello'),
      async observe(stage) {
        const remote = await stage.serve(GuardedController);
        const { client } = await stage.serve({
          imports: [
            ClientsModule.registerAsync([
              { name: 'REMOTE', useFactory: async () => stage.recipe(remote.server) },
            ]),
          ],
          controllers: [CallingController],
        });
        return answer(client, 'forward', 'hello');
      },
    },
    {
      id: 'hybrid.before-init',
      title: '`startAllMicroservices()` before `init()` serves calls.',
      both: got('hello'),
      async observe(stage) {
        const { app, server } = await stage.hybrid(GuardedController);
        app.connectMicroservice({ strategy: server });
        await app.startAllMicroservices();
        return answer(stage.client(server), 'echo', 'hello');
      },
    },
  ],
};

/** How often a client is closed meanwhile. */
async function closings(client: ClientProxy, go: () => Promise<unknown>): Promise<number> {
  let count = 0;
  // `ClientsModule` has put its own hook there, which closes.
  const hooked = client as unknown as { onApplicationShutdown(signal?: string): unknown };
  const close = hooked.onApplicationShutdown.bind(client);
  hooked.onApplicationShutdown = (signal) => {
    count += 1;
    return close(signal);
  };
  await go();
  return count;
}
