/** What `npm run chaos` writes down, as far as it is drawn. */

export interface FaultOutcome {
  readonly name: string;
  readonly title: string;
  /** Why it could not run. */
  readonly skipped?: string;
  readonly checks: readonly { readonly promise: string; readonly met: boolean; readonly seen: string }[];
  /** In ms from the first call. */
  readonly marks: readonly { readonly at: number; readonly label: string }[];
  readonly slots: readonly {
    readonly at: number;
    readonly answered: number;
    readonly failed: number;
    readonly p50: number;
    readonly p99: number;
  }[];
}

export interface FaultRun {
  readonly command: string;
  readonly machine: string;
  /** Markdown. */
  readonly table: string;
  readonly outcomes: readonly FaultOutcome[];
}
