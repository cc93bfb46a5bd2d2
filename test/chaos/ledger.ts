/** Every call: what its client sent and was told, and what the handlers wrote down. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Kind } from './settings.js';

/** One call, as its client knows it. */
export interface Entry {
  readonly kind: Kind;
  readonly id: string;
  /** In epoch ms. */
  readonly sentAt: number;
  readonly tookMs: number;
  /** `ok`, `wrong`, `lost`, or the code of the error and its delivery: `UNAVAILABLE/unknown`. */
  readonly outcome: string;
  /** Who answered. */
  readonly node: string;
}

/** What became of all calls. */
export interface Account {
  readonly entries: readonly Entry[];
  readonly answered: number;
  /** How many failed, by kind, code and delivery: `work UNAVAILABLE/unknown`. */
  readonly failed: Readonly<Record<string, number>>;
  /** Answers that were not the answer to their call. */
  readonly wrong: number;
  /** Neither answered nor failed. */
  readonly lost: number;
  /** Ran more than once though nobody allowed it. */
  readonly duplicated: number;
  /** Answered or acknowledged without having run, or said not to have run and yet did. */
  readonly untrue: number;
}

const IDEMPOTENT: ReadonlySet<Kind> = new Set<Kind>(['read', 'stream']);

export class Ledger {
  constructor(private readonly folder: string) {}

  serverFile(name: string): string {
    return join(this.folder, `server-${name}.log`);
  }

  clientFile(name: string): string {
    return join(this.folder, `client-${name}.log`);
  }

  /** Adds up what all files hold. */
  account(): Account {
    const entries = this.entries();
    const runs = this.runs();
    const failed: Record<string, number> = {};
    const sums = { answered: 0, wrong: 0, lost: 0, duplicated: 0, untrue: 0 };
    for (const { kind, id, outcome } of entries) {
      const ran = runs.get(id) ?? 0;
      if (outcome === 'ok') sums.answered += 1;
      else if (outcome === 'wrong' || outcome === 'lost') sums[outcome] += 1;
      else failed[`${kind} ${outcome}`] = (failed[`${kind} ${outcome}`] ?? 0) + 1;
      if (ran > 1 && !IDEMPOTENT.has(kind)) sums.duplicated += 1;
      const saysRan = outcome === 'ok' && kind !== 'event';
      const saysNot = /\/(?:not-sent|refused)$/.test(outcome);
      if ((saysRan && ran === 0) || (saysNot && ran > 0 && !IDEMPOTENT.has(kind))) sums.untrue += 1;
    }
    return { entries, failed, ...sums };
  }

  /** How often a node was given a call at or after this instant, in epoch ms. */
  handledBy(node: string, fromMs = 0): number {
    return this.linesOf(this.serverFile(node)).filter(([, , at]) => Number(at) >= fromMs).length;
  }

  private entries(): Entry[] {
    return this.files('client-').flatMap((file) =>
      this.linesOf(file).map(([kind = '', id = '', sentAt, tookMs, outcome = '', node = '']) => ({
        kind: kind as Kind,
        id,
        sentAt: Number(sentAt),
        tookMs: Number(tookMs),
        outcome,
        node,
      })),
    );
  }

  /** How often each call was given to a handler. */
  private runs(): Map<string, number> {
    const runs = new Map<string, number>();
    for (const file of this.files('server-'))
      for (const [, id = ''] of this.linesOf(file)) runs.set(id, (runs.get(id) ?? 0) + 1);
    return runs;
  }

  private files(beginning: string): string[] {
    return readdirSync(this.folder)
      .filter((name) => name.startsWith(beginning))
      .map((name) => join(this.folder, name));
  }

  private linesOf(file: string): string[][] {
    if (!existsSync(file)) return [];
    // The last line of a process that was killed may be half of one.
    const whole = readFileSync(file, 'utf8').split('\n').slice(0, -1);
    return whole.map((line) => line.split(' '));
  }
}
