/** A registry in the memory of this process: for tests, with the leases and timings of the real ones. */
import { LeaseRegistry, type LeaseRegistryDeps } from './lease-registry.js';
import { parseNodeRecord, toRecordJson, type NodeRecord } from './node-record.js';
import { takesEvents } from './announced.js';
import type { Look, RecordStore, StoreListener, StoreLookout, StoreSubscribers } from './record-store.js';
import type { RegistryClock } from './registry-clock.js';
import type { ServiceRegistry } from './registry.js';

interface Lease {
  readonly json: string;
  readonly expiresAt: number;
}

/** Everything kept under one name. */
interface Space {
  readonly services: Map<string, Map<string, Lease>>;
  readonly listeners: Set<StoreListener>;
}

// Shared on purpose: two registries of one process meet here by name, as two processes meet in Redis.
const spaces = new Map<string, Space>();

/** The registry `memory:NAME`: whoever opens the same name in this process shares its nodes. */
export function openMemoryRegistry(name: string, deps: LeaseRegistryDeps): ServiceRegistry {
  return new LeaseRegistry(openMemoryStore(name, deps), deps);
}

/** What is beneath {@link openMemoryRegistry}. */
export function openMemoryStore(name: string, { timings, clock }: LeaseRegistryDeps): RecordStore {
  return new MemoryStore(name, timings.ttlMs, clock);
}

class MemoryStore implements RecordStore {
  readonly url: string;
  private listener: StoreListener | undefined;

  constructor(
    private readonly name: string,
    private readonly ttlMs: number,
    private readonly clock: RegistryClock,
  ) {
    this.url = `memory:${name}`;
  }

  open(listener: StoreListener): Promise<void> {
    this.listener = listener;
    this.space().listeners.add(listener);
    return Promise.resolve();
  }

  write(record: NodeRecord, kind: 'join' | 'beat'): Promise<void> {
    const { services } = this.space();
    const leases = services.get(record.service) ?? new Map<string, Lease>();
    services.set(record.service, leases);
    leases.set(record.id, { json: toRecordJson(record), expiresAt: this.clock.now() + this.ttlMs });
    if (kind === 'join') {
      this.tellAll(record.service);
      if (takesEvents(record.metadata))
        for (const listener of this.space().listeners) listener.hintSubscribers();
    }
    return Promise.resolve();
  }

  remove(record: NodeRecord): Promise<void> {
    const { services } = this.space();
    const leases = services.get(record.service);
    leases?.delete(record.id);
    if (leases?.size === 0) services.delete(record.service);
    this.tellAll(record.service, record.id);
    return Promise.resolve();
  }

  lookOut(service: string): StoreLookout {
    return { look: () => Promise.resolve(this.look(service)), close: () => undefined };
  }

  lookOutForSubscribers(): StoreSubscribers {
    return { look: () => Promise.resolve(this.subscribers()), close: () => undefined };
  }

  close(): Promise<void> {
    const space = this.space();
    if (this.listener !== undefined) space.listeners.delete(this.listener);
    if (space.listeners.size === 0) spaces.delete(this.name);
    return Promise.resolve();
  }

  private look(service: string): Look {
    const leases = this.space().services.get(service) ?? new Map<string, Lease>();
    const records: NodeRecord[] = [];
    for (const [id, { json, expiresAt }] of leases) {
      if (expiresAt <= this.clock.now()) {
        leases.delete(id);
        continue;
      }
      const { record } = parseNodeRecord(json, { service, id });
      if (record !== undefined) records.push(record);
    }
    return { records, generation: '' };
  }

  private subscribers(): string[] {
    const services = [...this.space().services.keys()];
    return services.filter((service) =>
      this.look(service).records.some(({ metadata }) => takesEvents(metadata)),
    );
  }

  private space(): Space {
    const space = spaces.get(this.name) ?? { services: new Map(), listeners: new Set() };
    spaces.set(this.name, space);
    return space;
  }

  private tellAll(service: string, leftId?: string): void {
    for (const listener of this.space().listeners) listener.hint(service, leftId);
  }
}
