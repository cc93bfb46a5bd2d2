/** A row of the table: one kind of fault, under load, and what must hold. */
import { Cluster, type Places } from './cluster.js';
import type { Account } from './ledger.js';
import type { Program } from './program.js';
import { recoveryMs, timelineOf, type Slot } from './timeline.js';

/** A moment worth knowing, such as the fault or its end. */
export interface Mark {
  /** In epoch ms. */
  readonly at: number;
  readonly label: string;
}

/** Something that must hold. */
export interface Check {
  readonly promise: string;
  readonly met: boolean;
  /** What was counted. */
  readonly seen: string;
}

/** What a row has while it runs. */
export interface Scene {
  readonly cluster: Cluster;
  /** True for the whole length, false for the short version of the same. */
  readonly long: boolean;
  /** Notes that something happens now. */
  mark(label: string): number;
  /** Lets the load go on. */
  pass(ms: number): Promise<void>;
  /** Waits until a node has been given a call at or after an instant, in epoch ms; fails when none comes. */
  inUse(node: Program, fromMs: number): Promise<void>;
}

export interface Row {
  /** A word for files and the command line. */
  readonly name: string;
  readonly title: string;
  /** How often or how long, in words: behind the title. */
  readonly lengths?: { readonly long: string; readonly short: string };
  /** Further arguments of redis-server. */
  readonly redisArgs?: readonly string[];
  /** The mark from which the time to recover counts. @default the first one */
  readonly recoversFrom?: string;
  /** Makes what the machine must have; gives why it cannot. */
  readonly prepare?: () => string | undefined;
  /** Undoes {@link prepare}. */
  readonly tidy?: () => void;
  /** Sets up, injects and stops the load; gives what is checked against the whole account. */
  readonly run: (scene: Scene) => Promise<(account: Account) => readonly Check[]>;
}

/** What a row has given. */
export interface Outcome {
  readonly name: string;
  readonly title: string;
  readonly skipped?: string;
  readonly calls: number;
  readonly answered: number;
  readonly failed: Readonly<Record<string, number>>;
  readonly wrong: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly untrue: number;
  /** From the first mark until calls fared as before it; `undefined` when they never fared worse. */
  readonly recoverMs: number | undefined;
  readonly checks: readonly Check[];
  /** In ms from the first call. */
  readonly marks: readonly Mark[];
  readonly slots: readonly Slot[];
  /** What the programs have said lately. */
  readonly log: string;
}

const NOTHING = { calls: 0, answered: 0, failed: {}, wrong: 0, lost: 0, duplicated: 0, untrue: 0 };

const LOOK_EVERY_MS = 100;
const IN_USE_LIMIT_MS = 30_000;

function pass(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Runs a row from its first process to the last. */
export async function runRow(row: Row, places: Places, long: boolean): Promise<Outcome> {
  const { name } = row;
  const title = titleOf(row, long);
  const skipped = row.prepare?.();
  if (skipped !== undefined)
    return {
      name,
      title,
      skipped,
      ...NOTHING,
      recoverMs: undefined,
      checks: [],
      marks: [],
      slots: [],
      log: '',
    };
  try {
    return await run(row, await Cluster.start(places, row.redisArgs), long);
  } finally {
    row.tidy?.();
  }
}

async function run(row: Row, cluster: Cluster, long: boolean): Promise<Outcome> {
  const marks: Mark[] = [];
  const scene: Scene = {
    cluster,
    long,
    mark: (label) => (marks.push({ at: Date.now(), label }), Date.now()),
    // Load is what happens meanwhile: it is time itself that is waited for.
    pass,
    async inUse({ name: node }, fromMs) {
      for (const until = Date.now() + IN_USE_LIMIT_MS; cluster.ledger.handledBy(node, fromMs) === 0;) {
        if (Date.now() > until) throw new Error(`${node} was given no call within ${IN_USE_LIMIT_MS} ms`);
        await pass(LOOK_EVERY_MS);
      }
    },
  };
  try {
    const judge = await row.run(scene);
    const account = cluster.ledger.account();
    return {
      ...outcomeOf(row, titleOf(row, long), account, [...always(account), ...judge(account)], marks),
      log: cluster.log,
    };
  } catch (error) {
    throw new Error(`${row.title}: it could not be run to its end; the programs said:\n${cluster.log}`, {
      cause: error,
    });
  } finally {
    await cluster.close();
  }
}

/** What holds whatever happens. */
function always({ wrong, lost, duplicated, untrue, failed }: Account): Check[] {
  const untyped = Object.keys(failed).filter((kind) => kind.includes('untyped/'));
  return [
    none('no answer is wrong', wrong),
    none('no call is left without an answer or an error', lost),
    none('no call that is not idempotent runs twice', duplicated),
    none('what is answered has run, and what is said not to have run has not', untrue),
    { promise: 'every error is typed', met: untyped.length === 0, seen: untyped.join(', ') || 'all typed' },
  ];
}

/** A check that nothing was counted. */
export function none(promise: string, count: number): Check {
  return { promise, met: count === 0, seen: String(count) };
}

/** A check that something was counted. */
export function some(promise: string, count: number, least = 1): Check {
  return { promise, met: count >= least, seen: String(count) };
}

/** How many entries failed, of those for which `wanted` holds. */
export function failures(
  { entries }: Account,
  wanted: (entry: Account['entries'][number]) => boolean,
): number {
  return entries.filter((entry) => entry.outcome !== 'ok' && wanted(entry)).length;
}

function titleOf({ title, lengths }: Row, long: boolean): string {
  return lengths === undefined ? title : `${title}, ${long ? lengths.long : lengths.short}`;
}

function outcomeOf(
  row: Row,
  title: string,
  account: Account,
  checks: readonly Check[],
  marks: readonly Mark[],
): Omit<Outcome, 'log'> {
  const { entries, answered, failed, wrong, lost, duplicated, untrue } = account;
  const from = entries.reduce((first, { sentAt }) => Math.min(first, sentAt), Infinity);
  const slots = timelineOf(entries, from);
  const relative = marks.map(({ at, label }) => ({ at: at - from, label }));
  const faultAt = relative[0]?.at;
  const fromMs = relative.find(({ label }) => label === row.recoversFrom)?.at;
  return {
    ...{ name: row.name, title, calls: entries.length },
    ...{ answered, failed, wrong, lost, duplicated, untrue },
    recoverMs: faultAt === undefined ? undefined : recoveryMs(slots, faultAt, fromMs),
    ...{ checks, marks: relative, slots },
  };
}
