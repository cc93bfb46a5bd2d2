/** Shutting down: withdrawn and drained, in each of the orders in which Nest runs its hooks. */
import { beforeEach, describe, expect, it } from '@jest/globals';
import {
  Controller,
  Injectable,
  Module,
  type BeforeApplicationShutdown,
  type INestApplicationContext,
  type OnApplicationShutdown,
  type OnModuleDestroy,
} from '@nestjs/common';
import { MessagePattern } from '@nestjs/microservices';
import { randomUUID } from 'node:crypto';
import { MeshClientProxy, MeshModule, MeshNode, MeshServer } from '../../lib/index.js';
import { gate, until, useBench, type Gate } from './nest-fixture.js';

let steps: string[] = [];
let entered: Gate<void> = gate();
let release: Gate<void> = gate();

@Controller()
class WorkController {
  @MessagePattern('work')
  async work(): Promise<string> {
    entered.open();
    await release.promise;
    steps.push('work is done');
    return 'done';
  }
  @MessagePattern('echo')
  echo(data: unknown): unknown {
    return data;
  }
}

/** What users do when their application closes: a last call, and a look at what still holds. */
@Injectable()
class UsersHooks implements OnModuleDestroy, BeforeApplicationShutdown, OnApplicationShutdown {
  constructor(
    private readonly mesh: MeshClientProxy,
    private readonly node: MeshNode,
  ) {}
  onModuleDestroy(): Promise<void> {
    return this.look('onModuleDestroy');
  }
  beforeApplicationShutdown(): Promise<void> {
    return this.look('beforeApplicationShutdown');
  }
  onApplicationShutdown(): Promise<void> {
    return this.look('onApplicationShutdown');
  }
  private async look(hook: string): Promise<void> {
    const called = await this.mesh.to('other').call('echo', 'works');
    const { announced, listening } = this.node.status;
    steps.push(
      `${hook}: calling ${String(called)}${announced ? ', announced' : ''}${listening ? ', listening' : ''}`,
    );
  }
}

describe('closing an application', () => {
  const bench = useBench();
  let registry = '';
  beforeEach(async () => {
    registry = `memory:${randomUUID()}`;
    steps = [];
    entered = gate();
    release = gate();
    const module = await bench.compile({ controllers: [WorkController] });
    const other = bench.keep(
      module.createNestMicroservice({ strategy: new MeshServer({ service: 'other', registry }) }),
    );
    await other.listen();
  });
  const compile = (drainTimeoutMs = 5_000) =>
    bench.compile({
      imports: [MeshModule.forRoot({ service: 'service', registry, drainTimeoutMs })],
      controllers: [WorkController],
      providers: [UsersHooks],
    });
  const standalone = async (drainTimeoutMs?: number) => {
    const module = await compile(drainTimeoutMs);
    const app = bench.keep(module.createNestMicroservice({ strategy: module.get(MeshServer) }));
    await app.listen();
    return app;
  };
  const hybrid = async (drainTimeoutMs?: number) => {
    const module = await compile(drainTimeoutMs);
    const app = bench.keep(module.createNestApplication());
    app.connectMicroservice({ strategy: app.get(MeshServer) });
    await app.init();
    await app.startAllMicroservices();
    return app;
  };
  /** Begins a call, closes while it runs, and lets it go on once the node no longer takes calls. */
  const closeDuringCall = async (app: INestApplicationContext): Promise<unknown> => {
    const node = app.get(MeshNode);
    const call = bench.client({ registry, to: 'service' }).call('work', {});
    await entered.promise;
    const closed = app.close();
    await until(() => node.status.draining && !node.status.announced, 'the node is withdrawn');
    release.open();
    const answer = await call;
    await closed;
    expect(node.status).toMatchObject({ announced: false, listening: false });
    await expect(bench.client({ registry }).unwrap().discover('service')).resolves.toEqual([]);
    return answer;
  };

  it('that is standalone drains before any hook of its users runs, which can still call', async () => {
    const app = await standalone();
    await expect(closeDuringCall(app)).resolves.toBe('done');
    expect(steps).toEqual([
      'work is done',
      'onModuleDestroy: calling works',
      'beforeApplicationShutdown: calling works',
      'onApplicationShutdown: calling works',
    ]);
  });

  it('that is hybrid drains before any onModuleDestroy of its users runs, which can still call', async () => {
    const app = await hybrid();
    await expect(closeDuringCall(app)).resolves.toBe('done');
    expect(steps).toEqual([
      'work is done',
      'onModuleDestroy: calling works',
      'beforeApplicationShutdown: calling works',
      'onApplicationShutdown: calling works',
    ]);
  });

  it('that is hybrid drains before a module closes the database that handlers need', async () => {
    const database = { open: true };
    @Controller()
    class ReadController {
      @MessagePattern('read')
      async read(): Promise<string> {
        entered.open();
        await release.promise;
        return database.open ? 'read' : 'the database is closed';
      }
    }
    @Module({})
    class DatabaseModule implements OnModuleDestroy {
      onModuleDestroy(): void {
        database.open = false;
      }
    }
    const module = await bench.compile({
      imports: [DatabaseModule, MeshModule.forRoot({ service: 'service', registry })],
      controllers: [ReadController],
    });
    const app = bench.keep(module.createNestApplication());
    app.connectMicroservice({ strategy: app.get(MeshServer) });
    await app.init();
    await app.startAllMicroservices();
    const call = bench.client({ registry, to: 'service' }).call('read', {});
    await entered.promise;
    const closed = app.close();
    await until(() => app.get(MeshNode).status.draining, 'the node drains');
    release.open();
    await expect(call).resolves.toBe('read');
    await closed;
    expect(database.open).toBe(false);
  });

  it('that is hybrid drains before every hook when drain() is called first', async () => {
    const app = await hybrid();
    const call = bench.client({ registry, to: 'service' }).call('work', {});
    await entered.promise;
    const drained = app.get(MeshServer).drain();
    release.open();
    await drained;
    await expect(call).resolves.toBe('done');
    await app.close();
    expect(steps).toEqual([
      'work is done',
      'onModuleDestroy: calling works',
      'beforeApplicationShutdown: calling works',
      'onApplicationShutdown: calling works',
    ]);
  });

  it('fails calls that do not end within drainTimeoutMs, and says that they may have run', async () => {
    const app = await hybrid(50);
    const call = bench
      .client({ registry, to: 'service' })
      .call('work', {})
      .catch((error: unknown) => error);
    await entered.promise;
    await app.close();
    await expect(call).resolves.toMatchObject({
      name: 'MeshError',
      code: 'UNAVAILABLE',
      delivery: 'unknown',
    });
    release.open();
  });

  it('sends callers to the other nodes of the service without losing a call', async () => {
    const first = await hybrid();
    await hybrid();
    const client = bench.client({ registry, to: 'service' });
    while ((await client.unwrap().discover('service')).length < 2)
      await new Promise((resolve) => setTimeout(resolve, 5));
    let failures = 0;
    let answers = 0;
    const stop = new AbortController();
    const callers = Array.from({ length: 8 }, async () => {
      while (!stop.signal.aborted) {
        await client.call('echo', 1).then(
          () => (answers += 1),
          () => (failures += 1),
        );
      }
    });
    await until(() => answers > 200, 'calls are under way');
    await first.close();
    const before = answers;
    await until(() => answers > before + 200, 'calls go on');
    stop.abort();
    await Promise.all(callers);
    expect(failures).toBe(0);
  });

  it('fails own calls that are still open, and everything asked of it afterwards', async () => {
    const app = await standalone();
    const client = app.get(MeshClientProxy).to('other');
    const call = client.call('work', {}).catch((error: unknown) => error);
    await entered.promise;
    await app.close();
    await expect(call).resolves.toMatchObject({ code: 'UNAVAILABLE', delivery: 'unknown' });
    await expect(client.call('echo', 1)).rejects.toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent' });
    release.open();
  });

  it('may be asked for twice, and before it listened', async () => {
    const app = await hybrid();
    await app.get(MeshServer).close();
    await app.get(MeshServer).drain();
    await Promise.all([app.close(), app.close()]);
    const never = (await compile()).createNestApplication();
    await never.init();
    await never.close();
  });
});
