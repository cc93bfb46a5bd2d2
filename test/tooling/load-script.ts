/** Lets a test use the plain JavaScript under `scripts/lib/`. */

/**
 * Imports `scripts/lib/{name}.mjs`. It has no declarations, so the caller says what it uses of it.
 *
 * @param name without folder and ending
 */
export async function loadScript<Shape>(name: string): Promise<Shape> {
  return (await import(new URL(`../../scripts/lib/${name}.mjs`, import.meta.url).href)) as Shape;
}
