/** The services that take events, and which of their nodes takes which: what `publish()` goes by. */
import { MeshError } from '../protocol/mesh-error.js';
import { announcedOf } from '../registry/announced.js';
import type { NodeRecord } from '../registry/node-record.js';
import type { ServiceRegistry, Watch } from '../registry/registry.js';
import { misplacedRest, PatternTrie, routeTokens } from '../routing/pattern-trie.js';
import type { Directories } from './directories.js';
import type { Directory } from './directory.js';
import type { NodeWait } from './pending.js';
import { withinLimit } from './within-limit.js';

/** A service that takes an event. */
export interface Taker {
  readonly directory: Directory;
  /** Holds for the nodes that announce a matching pattern; others of the service may be older or newer than these. */
  readonly accepts: (record: NodeRecord | undefined) => boolean;
}

export class Subscribers {
  private readonly services = new Set<string>();
  /** By record: another record of a node is another object. */
  private readonly tries = new WeakMap<NodeRecord, PatternTrie<true>>();
  private watch: Watch | undefined;
  private firstAnswer: Promise<void> | undefined;
  private answered = false;

  constructor(
    private readonly registry: ServiceRegistry,
    private readonly directories: Directories,
  ) {}

  /** True once the registry has said who takes events, and which nodes there are. */
  get isReady(): boolean {
    return this.answered;
  }

  /**
   * Resolves when {@link isReady} holds; begins to look when it is called first. Rejects with a `MeshError` (`not-sent`):
   * `UNAVAILABLE` after the time limit, `UNIMPLEMENTED` for a registry that cannot say it.
   */
  async ready(wait: NodeWait): Promise<void> {
    this.firstAnswer ??= this.look();
    const why = (): string => {
      const { status, url } = this.registry;
      return `the registry ${url} has not said yet who takes events${status.state === 'stale' ? ` (${status.reason})` : ''}`;
    };
    await withinLimit(this.firstAnswer, wait, why);
  }

  /** The services that take the event. One that was seen once is not forgotten: its nodes say what it takes now. */
  takersOf(route: string): Taker[] {
    const tokens = routeTokens(route);
    // Nodes without a record have not announced anything.
    const accepts = (record: NodeRecord | undefined): boolean =>
      record !== undefined && this.trieOf(record).match(tokens).length > 0;
    return [...this.services].flatMap((service) => {
      const directory = this.directories.of(service);
      return directory.knows(accepts) ? [{ directory, accepts }] : [];
    });
  }

  /** Looks out no longer. */
  close(): void {
    this.watch?.close();
  }

  private async look(): Promise<void> {
    const { registry } = this;
    if (registry.watchSubscribers === undefined) {
      this.firstAnswer = undefined;
      throw new MeshError(
        'UNIMPLEMENTED',
        `the registry ${registry.url} cannot say who takes events (it has no watchSubscribers()): emit to each service instead`,
        { delivery: 'not-sent' },
      );
    }
    this.watch = registry.watchSubscribers((services) => this.apply(services));
    await this.watch.ready;
    await Promise.all([...this.services].map((service) => this.directories.of(service).ready));
    this.answered = true;
  }

  private apply(services: readonly string[]): void {
    if (!this.directories.isOpen) return;
    for (const service of services) {
      this.services.add(service);
      // From here on it watches the nodes.
      this.directories.of(service);
    }
  }

  private trieOf(record: NodeRecord): PatternTrie<true> {
    let trie = this.tries.get(record);
    if (trie === undefined) {
      trie = new PatternTrie();
      for (const pattern of announcedOf(record).events) {
        const tokens = routeTokens(pattern);
        // Others may have written anything; this one can match nothing.
        if (misplacedRest(tokens) === undefined) trie.add(tokens, true);
      }
      this.tries.set(record, trie);
    }
    return trie;
  }
}
