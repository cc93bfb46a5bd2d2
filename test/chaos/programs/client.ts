/**
 * A client that sends calls of several kinds at fixed rates, whatever becomes of those before, checks every answer and writes down
 * every outcome: `client.js SETTINGS`, a JSON text of ClientSettings. Prints `ready` after its first answer; SIGTERM stops the
 * sending, and once nothing is open (or the longest time is over) it prints `done`.
 */
import { createWriteStream } from 'node:fs';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { lastValueFrom } from 'rxjs';
import { MeshClientProxy, MeshError } from '../../../lib/index.js';
import type { ClientSettings, Kind } from '../settings.js';
import { answerUsage, endWithInput } from './usage.js';

const settings = JSON.parse(process.argv[2] ?? '{}') as ClientSettings;
const { name, to, ledger, rates, timeoutMs, options } = settings;
const say = (message: string): void => void process.stderr.write(`${name}: ${message}\n`);
const logger = { log: say, warn: say, error: say, debug: () => undefined };
const client = new MeshClientProxy({ ...options, to, timeoutMs, logger });
const acking = client.with({ ack: 'handled' });
const log = createWriteStream(ledger);
const open = new Map<string, { readonly kind: Kind; readonly sentAt: number }>();
const TURN_MS = 10;
/** How long a call may outlast its time limit before it counts as lost. */
const LATE_MS = 2_000;

interface Answer {
  readonly id: string;
  readonly twice: number;
  readonly node: string;
  readonly item?: number;
}

/** Sends one; resolves with the node that has answered, or with `undefined` when the answer is wrong. */
async function send(kind: Kind, id: string, n: number): Promise<string | undefined> {
  const data = { id, n };
  if (kind === 'event' || kind === 'acked') {
    await lastValueFrom((kind === 'acked' ? acking : client).emit(kind, data), { defaultValue: undefined });
    return '-';
  }
  if (kind === 'stream') {
    let at = 0;
    let node: string | undefined;
    for await (const item of client.stream<Answer>(kind, data)) {
      if (item.item !== at || item.id !== id || item.twice !== 2 * n) return undefined;
      at += 1;
      node = item.node;
    }
    return at === 5 ? node : undefined;
  }
  const answer = await client.call<Answer>(kind, data);
  return answer.id === id && answer.twice === 2 * n ? answer.node : undefined;
}

function outcomeOf(error: unknown): string {
  return MeshError.is(error) ? `${error.code}/${error.delivery}` : `untyped/${String(error).slice(0, 60)}`;
}

const told = new Map<string, number>();
const TOLD_MOST = 3;
/** The words of the first few failures of each kind, for a run that goes wrong. */
function noteFailure(kind: Kind, error: unknown): void {
  const what = `${kind} ${outcomeOf(error)}`;
  const times = (told.get(what) ?? 0) + 1;
  told.set(what, times);
  if (times <= TOLD_MOST) say(`${what}: ${String(error)}`);
}

let sent = 0;
async function make(kind: Kind): Promise<void> {
  const n = (sent += 1);
  const id = `${name}-${n}`;
  const sentAt = Date.now();
  const began = performance.now();
  open.set(id, { kind, sentAt });
  const [outcome, node] = await send(kind, id, n).then(
    (by) => (by === undefined ? ['wrong', '-'] : ['ok', by]),
    (error: unknown) => (noteFailure(kind, error), [outcomeOf(error).replaceAll(/\s/g, '_'), '-']),
  );
  open.delete(id);
  write(kind, id, sentAt, performance.now() - began, outcome ?? '', node ?? '');
}

function write(kind: Kind, id: string, sentAt: number, tookMs: number, outcome: string, node: string): void {
  log.write(`${kind} ${id} ${sentAt} ${tookMs.toFixed(1)} ${outcome} ${node}\n`);
}

const sending = new AbortController();
/** By the clock, not by the timer: a turn that comes late sends what the ones before it would have sent. */
async function keepSending(kind: Kind, perSecond: number): Promise<void> {
  const began = performance.now();
  let made = 0;
  while (!sending.signal.aborted) {
    const due = ((performance.now() - began) / 1_000) * perSecond;
    for (; made < due; made += 1) void make(kind);
    await delay(TURN_MS);
  }
}

endWithInput();
answerUsage(client.unwrap());
await client.connect();
// Nodes that are too busy for it are in reach all the same.
await client.call('read', { id: `${name}-first`, n: 0 }).catch((error: unknown) => {
  if (!MeshError.is(error) || error.code !== 'RESOURCE_EXHAUSTED') throw error;
});
process.stdout.write('ready\n');
const senders = Promise.all(
  Object.entries(rates).map(([kind, perSecond]) => keepSending(kind as Kind, perSecond)),
);
await once(process, 'SIGTERM');
sending.abort();
await senders;
for (const until = Date.now() + timeoutMs + LATE_MS; open.size > 0 && Date.now() < until;) await delay(20);
for (const [id, { kind, sentAt }] of open) write(kind, id, sentAt, Date.now() - sentAt, 'lost', '-');
await new Promise<void>((resolve) => {
  log.end(resolve);
});
process.stdout.write('done\n');
await once(process, 'SIGTERM');
await client.close();
process.exit(0);
