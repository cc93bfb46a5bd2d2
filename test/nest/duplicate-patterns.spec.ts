/** Two handlers of one message pattern: refused at start with their names, unless the user says otherwise. */
import { describe, expect, it } from '@jest/globals';
import { Controller, Injectable, Module, Scope, type ModuleMetadata, type Type } from '@nestjs/common';
import { EventPattern, MessagePattern } from '@nestjs/microservices';
import { randomUUID } from 'node:crypto';
import { ChannelPattern, MeshError, MeshModule, MeshServer, type MeshOptions } from '../../lib/index.js';
import { LogBook, useBench } from './nest-fixture.js';

@Controller()
class OrdersController {
  @MessagePattern('orders.create')
  create(): string {
    return 'orders';
  }
  @MessagePattern({ cmd: 'sum', kind: 'int' })
  sum(): number {
    return 1;
  }
  @MessagePattern('orders.only')
  only(): string {
    return 'only';
  }
  @ChannelPattern('telemetry')
  telemetry(): void {}
}

@Injectable({ scope: Scope.REQUEST })
@Controller()
class LegacyController {
  @MessagePattern(['legacy', 'orders.create'])
  createOrder(): string {
    return 'legacy';
  }
  @MessagePattern({ kind: 'int', cmd: 'sum' })
  add(): number {
    return 2;
  }
  @ChannelPattern('telemetry')
  gauges(): void {}
}

class CrudController {
  @MessagePattern('crud.get')
  get(): string {
    return this.constructor.name;
  }
}
@Controller()
class UsersController extends CrudController {}
@Controller()
class BillsController extends CrudController {}

@Controller()
class FineController {
  @MessagePattern('fine')
  message(): string {
    return 'fine';
  }
  @EventPattern<unknown>('fine')
  event(): void {}
  @EventPattern<unknown>('fine')
  again(): void {}
}

@Module({ controllers: [OrdersController] })
class OrdersModule {}
@Module({ controllers: [LegacyController] })
class LegacyModule {}
@Module({ controllers: [FineController] })
class FirstModule {}
@Module({ controllers: [FineController] })
class SecondModule {}

const BOTH: Type[] = [OrdersController, LegacyController];

describe('several handlers of one message pattern', () => {
  const bench = useBench();

  /** A hybrid application whose server is that of its MeshModule; what starting it came to. */
  const startHybrid = async (
    metadata: ModuleMetadata,
    options: Partial<MeshOptions> = {},
  ): Promise<{ readonly error: unknown; readonly logs: LogBook }> => {
    const logs = new LogBook();
    const mesh = MeshModule.forRoot({ service: 'service', registry: `memory:${randomUUID()}`, ...options });
    const module = await bench.compile({ ...metadata, imports: [mesh, ...(metadata.imports ?? [])] }, logs);
    const app = bench.keep(module.createNestApplication());
    app.connectMicroservice({ strategy: app.get(MeshServer) });
    await app.init();
    const error: unknown = await app.startAllMicroservices().then(
      () => undefined,
      (reason: unknown) => reason,
    );
    return { error, logs };
  };
  const startPlain = (controllers: Type[], options: Partial<MeshOptions> & { registry?: string } = {}) =>
    bench.start({ controllers }, { options });
  const refusal = async (start: Promise<unknown>): Promise<MeshError> => {
    const error: unknown = await start.catch((reason: unknown) => reason);
    if (!MeshError.is(error)) throw new Error(`not refused: ${String(error)}`);
    return error;
  };

  it('are refused at start by one error that lists each pattern with the classes and methods', async () => {
    const { error } = await startHybrid({ imports: [OrdersModule, LegacyModule] });
    expect(MeshError.is(error)).toBe(true);
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', delivery: 'not-sent' });
    const rule = 'has 2 handlers, of which only the last one would answer';
    expect((error as MeshError).rawMessage.split('\n')).toEqual([
      'the handlers of the service "service" are not valid:',
      `- the message pattern "orders.create" ${rule}: OrdersController.create (OrdersModule), LegacyController.createOrder (LegacyModule)`,
      `- the message pattern "{"cmd":"sum","kind":"int"}" ${rule}: OrdersController.sum (OrdersModule), LegacyController.add (LegacyModule)`,
      `- the channel "telemetry" ${rule}: OrdersController.telemetry (OrdersModule), LegacyController.gauges (LegacyModule)`,
      `Give every handler a pattern of its own, or set the option "duplicateHandlers" to 'warn'.`,
    ]);
  });

  it('are refused without MeshModule as well, by their pattern alone', async () => {
    const error = await refusal(startPlain(BOTH));
    expect(error.message).toContain('the message pattern "orders.create" has 2 handlers');
    expect(error.message).toContain('MeshModule');
    expect(error.message).not.toContain('orders.only');
  });

  it('are refused before anything listens or is announced', async () => {
    const registry = `memory:${randomUUID()}`;
    await refusal(startPlain(BOTH, { registry }));
    await expect(bench.client({ registry }).unwrap().discover('service')).resolves.toEqual([]);
  });

  it("are a warning with duplicateHandlers: 'warn', and the last one answers", async () => {
    const { client, logs } = await startPlain(BOTH, { duplicateHandlers: 'warn' });
    await expect(client.call('orders.create', {})).resolves.toBe('legacy');
    expect(logs.find('warn', '"orders.create" has 2 handlers')).toHaveLength(1);
    const hybrid = await startHybrid({ controllers: BOTH }, { duplicateHandlers: 'warn' });
    expect(hybrid.error).toBeUndefined();
    expect(hybrid.logs.find('warn', 'OrdersController.create', 'LegacyController.createOrder')).toHaveLength(
      1,
    );
  });

  it('are also two controllers that inherit one method, which MeshModule can tell', async () => {
    const { error } = await startHybrid({ controllers: [UsersController, BillsController] });
    expect(String(error)).toContain('"crud.get" has 2 handlers');
    expect(String(error)).toMatch(/UsersController\.get \(\w+\), BillsController\.get \(\w+\)/);
    const { logs } = await startPlain([UsersController, BillsController]);
    expect(logs.find('warn', '"crud.get" was registered 2 times')).toHaveLength(1);
  });

  it('are not a controller that is in two modules: that is one handler, and a warning', async () => {
    const { error, logs } = await startHybrid({ imports: [FirstModule, SecondModule] });
    expect(error).toBeUndefined();
    expect(
      logs.find(
        'warn',
        '"fine" of FineController.message (FirstModule, SecondModule) was registered 2 times',
      ),
    ).toHaveLength(1);
  });

  it('are not a message handler beside event handlers, which may share a pattern: no word of it', async () => {
    const { client, logs } = await startPlain([FineController]);
    await expect(client.call('fine', {})).resolves.toBe('fine');
    expect(logs.find('warn')).toEqual([]);
  });

  it('are not one callback that is added twice, nor one server that is connected twice', async () => {
    const { client, logs } = await bench.start(
      { controllers: [FineController] },
      {
        configure: (_app, server) => {
          server.addHandler('by hand', byHand);
          server.addHandler('by hand', byHand);
        },
      },
    );
    await expect(client.call('by hand', {})).resolves.toBe('by hand');
    expect(logs.find('warn')).toEqual([]);
    const twice = new LogBook();
    const module = await bench.compile({ controllers: [FineController] }, twice);
    const app = bench.keep(module.createNestApplication());
    const server = new MeshServer({ service: 'service', registry: `memory:${randomUUID()}` });
    app.connectMicroservice({ strategy: server });
    app.connectMicroservice({ strategy: server });
    await app.init();
    await app.startAllMicroservices();
    expect(twice.find('warn', '"fine" was registered 2 times').length).toBeGreaterThan(0);
  });

  it('have an option that takes no other words', () => {
    const options = { service: 'service', duplicateHandlers: 'ignore' as 'warn' };
    expect(() => new MeshServer(options)).toThrow(
      `duplicateHandlers must be 'error' or 'warn', not "ignore"`,
    );
  });
});

async function byHand(): Promise<string> {
  return 'by hand';
}
