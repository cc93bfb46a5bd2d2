/** Which handlers take an event: those of its very pattern, and those whose pattern matches it by wildcards. */
import type { MessageHandler } from '@nestjs/microservices';
import { hasWildcard, misplacedRest, PatternTrie, tokensOf } from '../routing/pattern-trie.js';

type Handlers = readonly MessageHandler[];

/** The event handlers of a server by route. Without wildcards a look-up is that of one map. */
export class EventRoutes {
  private readonly exact = new Map<string, MessageHandler[]>();
  private readonly wild = new Map<string, MessageHandler[]>();
  private trie: PatternTrie<Handlers> | undefined;
  private readonly misplaced: string[] = [];

  /** What is wrong with the patterns that were added, one sentence each. */
  get faults(): readonly string[] {
    return this.misplaced;
  }

  /** Adds a handler; a route may have several. */
  add(route: string, handler: MessageHandler): void {
    const tokens = routeTokens(route);
    const isWild = hasWildcard(tokens);
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

  /** True when a handler has the route as its pattern. */
  has(route: string): boolean {
    return this.exact.has(route);
  }

  /** Every handler that takes an event, once. `fallback` gives those to run where no handler has its very pattern. */
  matching(route: string, fallback: (route: string) => Handlers): Handlers {
    const exact = this.exact.get(route) ?? fallback(route);
    return this.trie === undefined ? exact : once([exact, ...this.trie.match(routeTokens(route))]);
  }

  private addWild(route: string, tokens: readonly string[], handlers: Handlers): void {
    const token = misplacedRest(tokens);
    if (token === undefined) {
      this.trie ??= new PatternTrie();
      this.trie.add(tokens, handlers);
      return;
    }
    this.misplaced.push(
      `the event pattern "${route}" can match nothing: "${token}" stands for the rest of a pattern, so nothing may follow it; ` +
        `"*" stands for one token`,
    );
  }
}

/** An object pattern is one token, whatever dots are in its JSON. */
function routeTokens(route: string): string[] {
  return route.startsWith('{') ? [route] : tokensOf(route);
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
