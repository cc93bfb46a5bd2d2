/** What a service may be called: a name that is safe in a Redis key, a glob pattern, a folder name and a header. */

/** 1 to 128 characters: letters, digits and `. _ @ / + -`, the first one a letter, a digit or `@`. */
export const SERVICE_NAME_PATTERN = /^[A-Za-z0-9@][A-Za-z0-9._@/+-]{0,127}$/;

const SHOWN_CHARACTERS = 40;

/** Why `name` cannot be the name of a service, naming the value (shortened); `undefined` when it can. */
export function checkServiceName(name: unknown): string | undefined {
  if (typeof name !== 'string') return `a service name must be a string, not ${describe(name)}`;
  if (SERVICE_NAME_PATTERN.test(name)) return undefined;
  const shown = JSON.stringify(name.length > SHOWN_CHARACTERS ? `${name.slice(0, SHOWN_CHARACTERS)}…` : name);
  const length = name.length > SHOWN_CHARACTERS ? ` (${name.length} characters)` : '';
  return (
    `the service name ${shown}${length} is not allowed: use 1 to 128 letters, digits and . _ @ / + - ` +
    `and begin with a letter, a digit or @`
  );
}

function describe(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'an array' : typeof value;
}
