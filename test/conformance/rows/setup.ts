/** Setting up: other ways to a server and a client than plain options. */
import { Controller, Inject } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  Client,
  ClientsModule,
  Ctx,
  MessagePattern,
  Payload,
  type AsyncMicroserviceOptions,
  type ClientOptions,
  type ClientProvider,
  type ClientProxy,
  type ClientsModuleOptionsFactory,
} from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { of } from 'rxjs';
import { MeshContext, MeshRecordBuilder } from '../../../lib/index.js';
import { LogBook } from '../../nest/nest-fixture.js';
import { answer, got, settled, shown } from '../outcome.js';
import type { Section } from '../row.js';

@Controller()
class EchoController {
  @MessagePattern('echo')
  echo(data: unknown): unknown {
    return data;
  }
}

@Controller()
class InjectedController {
  constructor(@Inject('REMOTE') readonly remote: ClientProxy) {}
  @MessagePattern('forward')
  forward(data: unknown): unknown {
    return this.remote.send('echo', data);
  }
}

/** The options of a property client are known when the class is made. */
function propertyClient(options: ClientOptions) {
  @Controller()
  class PropertyController {
    @Client(options)
    declare readonly remote: ClientProxy;
    @MessagePattern('forward')
    forward(data: unknown): unknown {
      return this.remote.send('echo', data);
    }
  }
  return PropertyController;
}

export const SETUP: Section = {
  title: 'Ways to set up servers and clients',
  rows: [
    {
      id: 'setup.factory',
      title: 'The strategy may come from a factory: `createMicroservice(module, { inject, useFactory })`.',
      both: got('hello'),
      async observe(stage) {
        const server = stage.server();
        class RootModule {}
        const app = await NestFactory.createMicroservice<AsyncMicroserviceOptions>(
          { module: RootModule, controllers: [EchoController] },
          { useFactory: () => ({ strategy: server }), inject: [], logger: new LogBook() },
        );
        stage.keep(app);
        await app.listen();
        return answer(stage.client(server), 'echo', 'hello');
      },
    },
    {
      id: 'setup.property',
      title:
        'A client may be a property with `@Client({ customClass, options })`, made at the start and closed at the end.',
      both: got('hello'),
      async observe(stage) {
        const remote = await stage.serve(EchoController);
        const recipe = stage.recipe(remote.server) as unknown as ClientOptions;
        const { client } = await stage.serve(propertyClient(recipe));
        return answer(client, 'forward', 'hello');
      },
    },
    {
      id: 'setup.override',
      title: '`overrideProvider` puts a fake in the place of a client of `ClientsModule`.',
      both: got('fake hello'),
      async observe(stage) {
        const remote = await stage.serve(EchoController);
        const module = await Test.createTestingModule({
          imports: [ClientsModule.register([{ name: 'REMOTE', ...stage.recipe(remote.server) }])],
          controllers: [InjectedController],
        })
          .overrideProvider('REMOTE')
          .useValue({ send: (_pattern: unknown, data: string) => of(`fake ${data}`) })
          .setLogger(new LogBook())
          .compile();
        const server = stage.server();
        const app = stage.keep(module.createNestMicroservice({ strategy: server }));
        await app.listen();
        return answer(stage.client(server), 'forward', 'hello');
      },
    },
    {
      id: 'setup.serializer',
      title: 'The options `serializer` and `deserializer`.',
      tcp: { says: 'change every packet', sees: got('changed') },
      mesh: {
        says: 'are refused, by name',
        sees: { error: { is: 'MeshError', code: 'INVALID_ARGUMENT', delivery: 'not-sent' } },
      },
      why: 'The packets of the mesh are a protocol that other languages speak, too; an option that has no effect would be worse than none.',
      async observe(stage) {
        const { server } = await stage.serve(EchoController);
        const { customClass, options } = stage.recipe(server);
        const serializer = {
          serialize: (packet: object): object => ({ ...packet, data: 'changed' }),
        };
        return settled(
          (async () => {
            const client = stage.keep(new customClass({ ...options, serializer }));
            return answer(client, 'echo', 'hello');
          })(),
        );
      },
    },
    {
      id: 'setup.unwrap-early',
      title: '`unwrap()` of a server that does not listen yet.',
      tcp: { says: 'gives a server without an address', sees: null },
      mesh: { says: 'throws `FAILED_PRECONDITION`, and says what to call', sees: 'FAILED_PRECONDITION' },
      why: 'What has no address yet is of no use, and fails later in a place that does not tell why.',
      async observe(stage) {
        try {
          return stage.server().unwrap<{ address(): unknown }>().address();
        } catch (error) {
          return (shown(error) as { code: string }).code;
        }
      },
    },
    {
      id: 'setup.on',
      title: '`on()` of a server takes the events of the transport.',
      tcp: { says: '`listening`, `connection`, `close`, `error`, …', sees: 'taken' },
      mesh: { says: '`status` and those of peers; any other name is refused', sees: 'INVALID_ARGUMENT' },
      why: 'A listener for an event that never comes is a mistake, and is told so.',
      async observe(stage) {
        try {
          (stage.server() as { on(event: string, callback: () => void): void }).on(
            'listening',
            () => undefined,
          );
          return 'taken';
        } catch (error) {
          return (shown(error) as { code: string }).code;
        }
      },
    },
    {
      id: 'setup.global',
      title:
        'A client of `ClientsModule` with `isGlobal` is injected everywhere; its options may come from a class.',
      both: got('hello'),
      async observe(stage) {
        const remote = await stage.serve(EchoController);
        class Recipes implements ClientsModuleOptionsFactory {
          createClientOptions(): ClientProvider {
            return stage.recipe(remote.server);
          }
        }
        class InnerModule {}
        const { client } = await stage.serve({
          imports: [
            ClientsModule.registerAsync({
              clients: [{ name: 'REMOTE', useClass: Recipes }],
              isGlobal: true,
            }),
            { module: InnerModule, controllers: [InjectedController] },
          ],
        });
        return answer(client, 'forward', 'hello');
      },
    },
    {
      id: 'setup.transport-server',
      title: '`getTransportServer()` gives the server, which can be closed before the application.',
      both: [true, 'closed'],
      async observe(stage) {
        const { app, server } = await stage.serve(EchoController);
        const given = app.getTransportServer();
        await given.close();
        await app.close();
        return [given === server, 'closed'];
      },
    },
    {
      id: 'setup.record',
      title: 'A record that carries metadata for one call beside its data.',
      tcp: { none: 'nothing: TCP has no record builder' },
      mesh: {
        says: '`MeshRecordBuilder`, as NATS and others have theirs',
        sees: got(['hello', { tenant: 'a' }]),
      },
      why: 'One call may need what no other call of the client has.',
      async observe(stage) {
        @Controller()
        class ToldController {
          @MessagePattern('told')
          told(@Payload() data: unknown, @Ctx() context: MeshContext): unknown {
            return [data, context.getMetadata()];
          }
        }
        const { client } = await stage.serve(ToldController);
        return answer(client, 'told', new MeshRecordBuilder('hello').setMetadata({ tenant: 'a' }).build());
      },
    },
  ],
};
