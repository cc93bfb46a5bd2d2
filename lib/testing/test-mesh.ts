/** A whole mesh in one process: nodes, a registry and a network without Redis, ports or mocks, and with faults on demand. */
import { meshLogger } from '../nest/mesh.logger.js';
import { MeshClientProxy } from '../nest/mesh.client-proxy.js';
import { nodeOptionsOf } from '../nest/serialization.js';
import { MESH_OPTIONS } from '../nest/mesh.tokens.js';
import { MeshNode } from '../node/mesh-node.js';
import type { MeshOptions } from '../node/mesh-options.js';
import { resolveOptions } from '../node/resolve-options.js';
import { MeshError } from '../protocol/mesh-error.js';
import { LeaseRegistry } from '../registry/lease-registry.js';
import { openMemoryStore } from '../registry/memory-registry.js';
import { SYSTEM_CLOCK } from '../registry/registry-clock.js';
import { FakeService, type FakeCalls, type FakeParts } from './fake-service.js';
import { FaultyStore } from './faulty-store.js';
import { EVERYBODY, names, RegistryRules, type Party } from './link-rules.js';
import { MemoryNetwork } from './memory-network.js';
import { MeshLink } from './mesh-link.js';

/** Options that outrank those which the code under test gives. `registry`, `redis` and `advertise` are the mesh's own. */
export type MeshTestOptions = Partial<Omit<MeshOptions, 'service' | 'registry' | 'redis' | 'advertise'>>;

/** What else a fake service can have, and the options of its node. */
export interface FakeServiceOptions extends FakeParts {
  readonly options?: MeshTestOptions | undefined;
}

/** What is needed of the `TestingModuleBuilder` of `@nestjs/testing`. */
export interface OverridableModule {
  overrideProvider(token: unknown): {
    useFactory(options: { factory: (options: MeshOptions) => MeshNode; inject: unknown[] }): unknown;
  };
}

interface Member {
  readonly party: Party;
  readonly node: MeshNode;
  readonly store: FaultyStore;
}

/** What suits tests, unless the code under test says otherwise: nobody waits long for what will not come. */
const TEST_DEFAULTS = { reconnect: { baseMs: 10, maxMs: 100 }, drainTimeoutMs: 1_000 } as const;

let meshes = 0;

/**
 * Above the connection everything is what runs in production: HTTP/2, framing, registry leases, keep-alive, Nest's pipeline.
 * Close it at the end of each test; what it has made is closed with it.
 */
export class TestMesh {
  private readonly network = new MemoryNetwork();
  private readonly registryRules = new RegistryRules();
  private readonly registryName: string;
  private readonly members: Member[] = [];
  private readonly hosts = new Set<string>();
  private closing: Promise<void> | undefined;

  /** `options` are for every node, for example `{ keepAlive: { intervalMs: 50, timeoutMs: 100 } }`. */
  constructor(private readonly options: MeshTestOptions = {}) {
    meshes += 1;
    this.registryName = `test-mesh-${meshes}`;
  }

  // --- who is in it

  /**
   * Makes the application under test a member, as it is: `mesh.override(Test.createTestingModule({ imports: [AppModule] }))`.
   * Its `MeshModule` keeps its options; only its registry and its network are those of this mesh. Gives the builder back.
   */
  override<Builder extends OverridableModule>(builder: Builder, options: MeshTestOptions = {}): Builder {
    builder.overrideProvider(MeshNode).useFactory({
      factory: (given) => this.node(given, options),
      inject: [MESH_OPTIONS],
    });
    return builder;
  }

  /**
   * A service that is not there: `await mesh.service('billing', { 'invoice.get': (id: string) => ({ id, total: 12 }) })`.
   * It is announced when this resolves. Called again for the same service, it makes one more node of it.
   */
  async service(
    service: string,
    calls: FakeCalls = {},
    { options = {}, ...parts }: FakeServiceOptions = {},
  ): Promise<FakeService> {
    const { node, party } = this.join({ service, ...options });
    const fake = new FakeService(party.name, node, calls, parts);
    await fake.start();
    return fake;
  }

  /** A client that is in the mesh for the test itself: `mesh.client().to('orders').call('orders.get', 1)`. */
  client(service = 'test', options: MeshTestOptions = {}): MeshClientProxy {
    return MeshClientProxy.over(this.node({ service }, options));
  }

  /**
   * A node, for `new MeshServer(mesh.node({ service: 'orders' }))`. Throws a `MeshError` that lists every fault of the options;
   * TLS is one of them.
   */
  node(given: MeshOptions, options: MeshTestOptions = {}): MeshNode {
    return this.join(given, options).node;
  }

  /** The name of a node for faults: its service and a number, in the order in which they were made. */
  nameOf(node: MeshNode): string {
    const member = this.members.find((one) => one.node === node);
    if (member === undefined) throw unknown('this node', this.members);
    return member.party.name;
  }

  // --- faults: who is meant is told by a service, by the name of a node (`orders-1`) or by its id

  /** The connections between two, whoever dialled; without `b`, those of `a` with everybody. */
  between(a: string, b: string = EVERYBODY): MeshLink {
    return this.link([
      [a, b],
      [b, a],
    ]);
  }

  /** What goes from one to the other. Connections are refused or cut where `from` has dialled. */
  oneWay(from: string, to: string): MeshLink {
    return this.link([[from, to]]);
  }

  /** Nothing passes between the two any more, and nobody is told: `mesh.between(a, b).drop()`. */
  partition(a: string, b: string = EVERYBODY): MeshLink {
    return this.between(a, b).drop();
  }

  /** The registry is away for these nodes, as when Redis is down: `stale`, and what was known goes on being used. */
  async loseRegistry(who: string = EVERYBODY): Promise<void> {
    this.select(who);
    this.registryRules.lose(who);
    await this.refreshStores();
  }

  /** The records of these nodes vanish from the registry although they live. */
  async hide(who: string): Promise<void> {
    this.select(who);
    this.registryRules.hide(who);
    await this.refreshStores();
  }

  /**
   * The end of a process: connections break, nobody is told anything else, and the record stays in the registry until its lease
   * (`ttlMs`) ends. It does not come back by {@link heal}; start another one.
   */
  async crash(who: string): Promise<void> {
    const victims = this.select(who);
    await Promise.all(
      victims.map(async ({ party, store, node }) => {
        store.die();
        await this.network.crash(party);
        await node.close();
      }),
    );
  }

  /** Ends every fault. */
  async heal(): Promise<void> {
    this.network.rules.clear();
    this.network.refresh();
    this.registryRules.clear();
    await this.refreshStores();
  }

  /** Heals, and closes every node, also those of applications that are still open. Idempotent. */
  close(): Promise<void> {
    this.closing ??= this.shutDown();
    return this.closing;
  }

  private async shutDown(): Promise<void> {
    await this.heal();
    await Promise.all(this.members.map(({ node }) => node.close()));
    await this.network.close();
  }

  private async refreshStores(): Promise<void> {
    await Promise.all(
      this.members.map(async ({ store, node }) => {
        // A registry that was closed meanwhile, or never opened, stays as it is.
        if ((await store.refresh()) && node.status.registry.state === 'stale')
          await node.registry.connect().catch(() => undefined);
      }),
    );
  }

  private join(given: MeshOptions, overriding: MeshTestOptions = {}): Member {
    if (this.closing !== undefined) {
      throw new MeshError('FAILED_PRECONDITION', 'the test mesh was closed: make a new TestMesh');
    }
    const options = {
      ...TEST_DEFAULTS,
      logger: meshLogger(),
      ...nodeOptionsOf(given),
      ...this.options,
      ...overriding,
    };
    const { name, host } = this.place(options.service);
    const resolved = resolveOptions({
      ...options,
      registry: `memory:${this.registryName}`,
      redis: undefined,
    });
    if (resolved.tls !== undefined) {
      throw new MeshError(
        'INVALID_ARGUMENT',
        `the node of '${resolved.service}' has the option tls, but nothing leaves the process: override it by { tls: undefined }`,
      );
    }
    const party: Party = { name, host, service: resolved.service, nodeId: resolved.nodeId };
    const deps = { timings: resolved, logger: resolved.logger, clock: SYSTEM_CLOCK };
    const store = new FaultyStore(openMemoryStore(this.registryName, deps), {
      lost: () => this.registryRules.hasLost(party),
      hidden: () => this.registryRules.hides(party),
    });
    const registry = new LeaseRegistry(store, deps);
    const place = { advertiseHost: host, advertisePort: undefined };
    const node = new MeshNode({ ...resolved, ...place, registry }, this.network.of(party));
    const member = { party, node, store };
    this.hosts.add(host);
    this.members.push(member);
    return member;
  }

  /** Names may have characters that hosts may not. */
  private place(service: unknown): { readonly name: string; readonly host: string } {
    for (let number = 1; ; number += 1) {
      const name = `${String(service)}-${number}`;
      const host = `${name.replaceAll(/[^A-Za-z0-9._-]/g, '-').replace(/^[^A-Za-z0-9]+/, '')}.test`;
      if (!this.hosts.has(host)) return { name, host };
    }
  }

  private link(directions: readonly (readonly [string, string])[]): MeshLink {
    for (const who of directions.flat()) if (who !== EVERYBODY) this.select(who);
    return new MeshLink(this.network, directions);
  }

  /** The members that are meant. A name that fits nobody would make a test that proves nothing. */
  private select(who: string): readonly Member[] {
    const found = this.members.filter(({ party }) => names(who, party));
    if (found.length === 0 && who !== EVERYBODY) throw unknown(`'${who}'`, this.members);
    return found;
  }
}

function unknown(what: string, members: readonly Member[]): MeshError {
  const known = members.map(({ party }) => party.name).join(', ') || 'nobody yet';
  return new MeshError('INVALID_ARGUMENT', `${what} is not in the test mesh; in it: ${known}`);
}
