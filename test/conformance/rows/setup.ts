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
import { of, type Observable } from 'rxjs';
import { MeshContext, MeshRecordBuilder } from '../../../lib/index.js';
import { LogBook } from '../../nest/nest-fixture.js';
import { answer, answerOrHang, failed, got, hung, shown } from '../outcome.js';
import type { Section } from '../row.js';

type Packet = Record<string, unknown>;

@Controller()
class EchoController {
  @MessagePattern('echo')
  echo(data: unknown): unknown {
    return data;
  }
  @MessagePattern('count')
  count(): Observable<number> {
    return of(1, 2);
  }
  @MessagePattern('fence')
  fence(): void {}
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
      title: 'The `serializer` and the `deserializer` of a client change what is sent, and what comes back.',
      both: [got('answer: hello sent'), got('answer: 1', 'answer: 2')],
      async observe(stage) {
        const { server } = await stage.serve(EchoController);
        const { customClass, options } = stage.recipe(server);
        const serializer = {
          serialize: (packet: Packet) => ({
            ...packet,
            data: typeof packet['data'] === 'string' ? `${packet['data']} sent` : packet['data'],
          }),
        };
        const deserializer = {
          deserialize: async (packet: Packet) =>
            'response' in packet ? { ...packet, response: `answer: ${String(packet['response'])}` } : packet,
        };
        const client = stage.keep(new customClass({ ...options, serializer, deserializer }));
        return [await answer(client, 'echo', 'hello'), await answer(client, 'count', {})];
      },
    },
    {
      id: 'setup.server-serializer',
      title: 'Those of a server change what its handlers get, and what they answer, stream by stream.',
      both: [got('hello read written'), got('1 written', '2 written')],
      async observe(stage) {
        const codecs = {
          deserializer: {
            deserialize: async (packet: Packet) =>
              ({ ...packet, data: `${String(packet['data'])} read` }) as never,
          },
          serializer: {
            serialize: (packet: Packet) =>
              'response' in packet
                ? { ...packet, response: `${String(packet['response'])} written` }
                : packet,
          },
        };
        const { client } = await stage.serve(EchoController, { settings: { codecs: codecs as never } });
        return [await answer(client, 'echo', 'hello'), await answer(client, 'count', {})];
      },
    },
    {
      id: 'setup.serializer-throws',
      title: 'A `serializer` of a server that throws.',
      tcp: { says: 'the caller is never answered', sees: hung() },
      mesh: {
        says: 'the caller gets a `MeshError` (`INTERNAL`), and the log tells more',
        sees: failed({ is: 'MeshError', code: 'INTERNAL', delivery: 'unknown' }),
      },
      why: 'A caller that nobody answers waits for ever, or for its own timeout, and is not told why.',
      async observe(stage) {
        const serializer = {
          serialize: (packet: Packet): Packet => {
            if (packet['response'] === 'bad') throw new Error('it cannot be written');
            return packet;
          },
        };
        const codecs = { serializer } as never;
        const { client } = await stage.serve(EchoController, { settings: { codecs } });
        return answerOrHang(client, 'echo', 'bad');
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
