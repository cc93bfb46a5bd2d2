/**
 * Event patterns with wildcards, found by walking a trie of their tokens: what a look-up costs depends on the patterns that can
 * still match, not on how many there are. Tokens are separated by `.`; `*` is any one token, `>` or `**` any one or more at the end.
 *
 * Source: the subjects of NATS, docs.nats.io, "Subject-Based Messaging"; `**` is what MQTT and glob users write for `>`.
 */

const SEPARATOR = '.';
const ANY = '*';
const REST: ReadonlySet<string> = new Set(['>', '**']);

interface TrieNode<T> {
  readonly literals: Map<string, TrieNode<T>>;
  any: TrieNode<T> | undefined;
  /** Of patterns that end here. */
  readonly here: T[];
  /** Of patterns that end here with the wildcard for the rest. */
  readonly rest: T[];
}

/** The tokens of a pattern or of an event's name. There is always one; a token may be empty. */
export function tokensOf(pattern: string): string[] {
  return pattern.split(SEPARATOR);
}

/** The tokens of a route. An object pattern is one token, whatever dots are in its JSON. */
export function routeTokens(route: string): string[] {
  return route.startsWith('{') ? [route] : tokensOf(route);
}

/** True when one of the tokens is a wildcard. A token that only contains one, as `order*`, is literal. */
export function hasWildcard(tokens: readonly string[]): boolean {
  return tokens.some((token) => token === ANY || REST.has(token));
}

/** The wildcard for the rest that stands before the end, where it can match nothing. */
export function misplacedRest(tokens: readonly string[]): string | undefined {
  return tokens.slice(0, -1).find((token) => REST.has(token));
}

/** Values by pattern. */
export class PatternTrie<T> {
  private readonly root: TrieNode<T> = newNode();

  /** Adds a value under a pattern; there may be several. Throws a `RangeError` for a {@link misplacedRest}. */
  add(tokens: readonly string[], value: T): void {
    const misplaced = misplacedRest(tokens);
    if (misplaced !== undefined) {
      throw new RangeError(`"${misplaced}" must be the last token of "${tokens.join(SEPARATOR)}"`);
    }
    let node = this.root;
    for (const token of tokens) {
      if (REST.has(token)) {
        node.rest.push(value);
        return;
      }
      node = childOf(node, token);
    }
    node.here.push(value);
  }

  /** The values of all patterns that match a name, each as often as it was added; exact tokens come before wildcards. */
  match(tokens: readonly string[]): T[] {
    const found: T[] = [];
    // A node is reached by one path only, so the walk is no longer than the trie is large, whatever the name.
    const walk = (node: TrieNode<T>, at: number): void => {
      const token = tokens[at];
      if (token === undefined) {
        found.push(...node.here);
        return;
      }
      const literal = node.literals.get(token);
      if (literal !== undefined) walk(literal, at + 1);
      if (node.any !== undefined) walk(node.any, at + 1);
      found.push(...node.rest);
    };
    walk(this.root, 0);
    return found;
  }
}

function newNode<T>(): TrieNode<T> {
  return { literals: new Map(), any: undefined, here: [], rest: [] };
}

function childOf<T>(node: TrieNode<T>, token: string): TrieNode<T> {
  if (token === ANY) return (node.any ??= newNode());
  let child = node.literals.get(token);
  if (child === undefined) {
    child = newNode();
    node.literals.set(token, child);
  }
  return child;
}
