/** What is measured by itself: one step of a call, in a loop with nothing around it. */

/** The tables of the pieces, and their order. */
export const MICRO_GROUPS = ['frames', 'packets', 'picking', 'patterns'] as const;

/** One of {@link MICRO_GROUPS}. */
export type MicroGroup = (typeof MICRO_GROUPS)[number];

/** One piece of the library. */
export interface Piece {
  readonly group: MicroGroup;
  readonly title: string;
  /** Throws unless the piece does what its title says. */
  check(): void;
  /** Does it; gives something, so that the compiler cannot leave it out. */
  run(): unknown;
  /** How often {@link run} does it. @default 1 */
  readonly times?: number;
}

/** Throws, naming the piece, unless both are the same as JSON. */
export function expectSame(title: string, got: unknown, wanted: unknown): void {
  if (JSON.stringify(got) === JSON.stringify(wanted)) return;
  throw new Error(`"${title}" gave ${JSON.stringify(got)}, not ${JSON.stringify(wanted)}`);
}
