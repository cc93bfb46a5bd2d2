/** Which handlers take an event: those of its very pattern, and those whose pattern matches it by wildcards. */
import type { MessageHandler } from '@nestjs/microservices';
import type { MeshHandlerExtras } from './handler-extras.js';
import { hasWildcard, misplacedRest, PatternTrie, routeTokens } from '../routing/pattern-trie.js';

const LIMITS: readonly (keyof MeshHandlerExtras)[] = ['timeoutMs', 'maxConcurrency'];

type Handlers = readonly MessageHandler[];

/** The event handlers of a server by route. Without wildcards a look-up is that of one map. */
export class EventRoutes {
  private readonly exact = new Map<string, MessageHandler[]>();
  private readonly wild = new Map<string, MessageHandler[]>();
  private trie: PatternTrie<Handlers> | undefined;
  private readonly found: string[] = [];

  /** What is wrong with the patterns that were added, one sentence each. */
  get faults(): readonly string[] {
    return this.found;
  }

  /** Adds a handler; a route may have several. */
  add(route: string, handler: MessageHandler): void {
    const tokens = routeTokens(route);
    const isWild = hasWildcard(tokens);
    this.checkExtras(route, handler.extras);
    const routes = isWild ? this.wild : this.exact;
    const handlers = routes.get(route);
    if (handlers !== undefined) {
      handlers.push(handler);
      return;
    }
    const first = [handler];
    routes.set(route, first);
    if (isWild) this.addWild(route, tokens, first);
  }

  /** The patterns that handlers have, sorted. */
  get patterns(): readonly string[] {
    return [...this.exact.keys(), ...this.wild.keys()].toSorted();
  }

  /** True when a handler has the route as its pattern. */
  has(route: string): boolean {
    return this.exact.has(route);
  }

  /** Every handler that takes an event, once. `fallback` gives those to run where no handler has its very pattern. */
  matching(route: string, fallback: (route: string) => Handlers): Handlers {
    const exact = this.exact.get(route) ?? fallback(route);
    return this.trie === undefined ? exact : once([exact, ...this.trie.match(routeTokens(route))]);
  }

  private checkExtras(route: string, extras: MessageHandler['extras']): void {
    for (const name of LIMITS) {
      if (extras?.[name] === undefined) continue;
      this.found.push(
        `the event pattern "${route}" has the extra ${name}, which holds for message patterns only: nobody waits for an event handler`,
      );
    }
  }

  private addWild(route: string, tokens: readonly string[], handlers: Handlers): void {
    const token = misplacedRest(tokens);
    if (token === undefined) {
      this.trie ??= new PatternTrie();
      this.trie.add(tokens, handlers);
      return;
    }
    this.found.push(
      `the event pattern "${route}" can match nothing: "${token}" stands for the rest of a pattern, so nothing may follow it; ` +
        `"*" stands for one token`,
    );
  }
}

/**
 * The handlers of all groups, but of a method with several patterns that match only those of the first: Nest makes one handler
 * for each pattern of a method, and the extras, which it reads from the method, are what they have in common.
 */
function once(groups: readonly Handlers[]): Handlers {
  const seen = new Set<unknown>();
  return groups.flatMap((group) => {
    const fresh = group.filter(({ extras }) => extras === undefined || !seen.has(extras));
    for (const { extras } of group) seen.add(extras);
    return fresh;
  });
}
