/** Routes: patterns as the strings by which handlers are found. */

/** What Nest's `normalizePattern` gives, as a string: Nest's type says so, but it leaves booleans as they are. */
export function asRoute(normalized: unknown): string {
  return String(normalized);
}
