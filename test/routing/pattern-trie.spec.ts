/** The trie of patterns: it finds what a matcher that tries every pattern finds. */
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { hasWildcard, misplacedRest, PatternTrie, tokensOf } from '../../lib/routing/pattern-trie.js';

/** The meaning of a pattern, token by token. */
function matches(pattern: readonly string[], name: readonly string[]): boolean {
  const [wanted, ...laterWanted] = pattern;
  const [token, ...later] = name;
  if (wanted === undefined || token === undefined) return wanted === token;
  if (wanted === '>' || wanted === '**') return true;
  return (wanted === '*' || wanted === token) && matches(laterWanted, later);
}

// Few different tokens, so that patterns and names meet; some that an object in the place of a map would stumble over.
const literal = fc.constantFrom('a', 'b', '', '__proto__', 'constructor', 'a*', '*>', '***');
const name = fc.array(fc.oneof(literal, fc.constantFrom('*', '>', '**')), { minLength: 1, maxLength: 6 });
const pattern = fc
  .tuple(
    fc.array(fc.oneof(literal, fc.constant('*')), { maxLength: 5 }),
    fc.option(fc.constantFrom('>', '**', 'a', '*'), { nil: undefined }),
  )
  .map(([head, last]) => (last === undefined ? head : [...head, last]))
  .filter((tokens) => tokens.length > 0);

function trieOf(patterns: Record<string, string> | readonly string[]): PatternTrie<string> {
  const trie = new PatternTrie<string>();
  for (const one of Object.values(patterns)) trie.add(tokensOf(one), one);
  return trie;
}

describe('The trie of patterns', () => {
  it('finds exactly what a matcher that tries every pattern finds, each as often as it was added', () => {
    fc.assert(
      fc.property(
        fc.array(pattern, { maxLength: 30 }),
        fc.array(name, { maxLength: 10 }),
        (patterns, names) => {
          const trie = new PatternTrie<number>();
          for (const [at, tokens] of patterns.entries()) trie.add(tokens, at);
          for (const tokens of names) {
            const wanted = [...patterns.keys()].filter((at) => matches(patterns[at] ?? [], tokens));
            expect(trie.match(tokens).sort((one, other) => one - other)).toEqual(wanted);
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it('finds every pattern by itself, as literal as it is written', () => {
    fc.assert(
      fc.property(pattern, (tokens) => {
        const trie = new PatternTrie<boolean>();
        trie.add(tokens, true);
        expect(trie.match(tokens)).toEqual([true]);
      }),
    );
  });

  it('gives exact tokens before `*`, and `*` before the rest', () => {
    const trie = trieOf(['>', '*.*', 'a.**', 'a.*', '*.b', 'a.b']);
    expect(trie.match(['a', 'b'])).toEqual(['a.b', 'a.*', 'a.**', '*.b', '*.*', '>']);
  });

  it.each([
    ['a.*', 'a.b', true],
    ['a.*', 'a', false],
    ['a.*', 'a.b.c', false],
    ['*.c', 'a.c', true],
    ['a.>', 'a', false],
    ['a.>', 'a.b', true],
    ['a.**', 'a.b.c.d', true],
    ['*.b.>', 'a.b.c', true],
    ['>', 'a', true],
    ['a.*', 'a.', true],
    ['a*', 'ab', false],
    ['a*', 'a*', true],
  ])('%s on %s: %s', (written, event, expected) => {
    expect(trieOf([written]).match(tokensOf(event))).toHaveLength(expected ? 1 : 0);
  });

  it('refuses a wildcard for the rest with something after it', () => {
    expect(() => trieOf(['a.>.b'])).toThrow('">" must be the last token of "a.>.b"');
    expect(misplacedRest(['**', 'a'])).toBe('**');
    expect(misplacedRest(['a', '>'])).toBeUndefined();
  });

  it('takes only whole tokens for wildcards', () => {
    expect(['*', 'a.*.b', 'a.>', '**'].every((one) => hasWildcard(tokensOf(one)))).toBe(true);
    expect(['', 'a*', '***', 'a.b>', '>>'].some((one) => hasWildcard(tokensOf(one)))).toBe(false);
  });

  it('takes no longer for a long name than for one as deep as the patterns', () => {
    const trie = trieOf(['*.*.*.*', 'a.>']);
    const long = Array.from({ length: 1_000_000 }, () => 'a');
    expect(trie.match(long)).toEqual(['a.>']);
  });
});
