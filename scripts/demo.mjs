/**
 * `npm run demo`: the walkthrough in one terminal. Starts the Nest sample and the Python peer, and shows both logs side
 * by side until Ctrl-C, or until `--messages N` have gone each way.
 *
 * Needs nothing but Node and Python, so that it works in a fresh clone.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Conversation } from './lib/conversation.mjs';
import { DemoWatch } from './lib/demo-watch.mjs';
import { ensureBuild, NODE_PEER_MAIN } from './lib/ensure-build.mjs';
import { ensureNpm } from './lib/ensure-npm.mjs';
import { ensurePython } from './lib/ensure-python.mjs';
import { PYTHON_PEER, ROOT } from './lib/paths.mjs';
import { PeerProcess } from './lib/peer-process.mjs';
import { runMain, SetupError } from './lib/setup-error.mjs';

const USAGE = `npm run demo [-- OPTIONS]
  --messages N    stop when N messages have gone each way, and check that none is missing (default: go on until Ctrl-C)
  --interval MS   pause between two messages of a side (default: 1000, with --messages 50; 0: as fast as possible)

REDIS_URL names a Redis server to meet in; without it the peers meet in a temporary directory.`;

await runMain(async () => {
  const options = readOptions();
  if (options === undefined) {
    console.log(USAGE);
    return 0;
  }
  await ensureNpm();
  const python = await ensurePython();
  await ensureBuild();

  const scratch = mkdtempSync(join(tmpdir(), 'mesh-demo-'));
  const forget = () => rmSync(scratch, { recursive: true, force: true });
  process.once('exit', forget);
  try {
    return await converse(options, python, process.env.REDIS_URL || `file:${scratch}`);
  } finally {
    process.off('exit', forget);
    forget();
  }
});

/** Runs both peers; the exit code. */
async function converse({ messages, intervalMs }, python, registry) {
  const conversation = new Conversation();
  const watch = new DemoWatch(intervalMs);
  const start = (name, command, cwd) => {
    const onLine = (line) => {
      console.log(`${name.padEnd(6)} | ${line}`);
      if (conversation.take(name, line))
        watch.progress(conversation.begun, messages !== undefined && conversation.isComplete(messages));
    };
    const peer = new PeerProcess(name, command, {
      cwd,
      env: environment(registry, messages, intervalMs),
      onLine,
    });
    void peer.ended.then((how) => watch.settle({ reason: `${name} ended: ${how}${quote(peer.lastLines)}` }));
    return peer;
  };
  console.log(`Both peers meet in ${withoutPassword(registry)}. Ctrl-C ends the demo.\n`);
  const peers = [
    start('python', [python, 'mesh_peer.py'], PYTHON_PEER),
    start('node', [process.execPath, NODE_PEER_MAIN], ROOT),
  ];

  const { reason, interrupted } = await watch.outcome;
  const faults = [];
  if (reason !== undefined) faults.push(reason);
  const ends = await Promise.all(peers.map((peer) => peer.stop()));
  // When one has broken the demo off, that is the reason; otherwise both must end in order.
  if (reason === undefined) faults.push(...ends.filter((fault) => fault !== undefined));
  if (conversation.begun) console.log(`\n${conversation.summary()}`);
  if (messages !== undefined && reason === undefined) faults.push(...conversation.faultsFor(messages));
  else if (messages === undefined) faults.push(...conversation.faults);
  if (messages !== undefined && interrupted) faults.unshift('it was interrupted');
  for (const fault of faults) console.error(`failed: ${fault}`);
  return faults.length === 0 ? 0 : 1;
}

/** `undefined`: the user asked for help. */
function readOptions() {
  const { values } = parse();
  if (values.help) return undefined;
  const messages = whole('messages', values.messages, 1);
  return {
    messages,
    intervalMs: whole('interval', values.interval, 0) ?? (messages === undefined ? 1_000 : 50),
  };
}

function parse() {
  try {
    return parseArgs({
      options: {
        messages: { type: 'string' },
        interval: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    throw new SetupError(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
  }
}

function whole(name, value, least) {
  if (value === undefined) return undefined;
  if (/^\d{1,9}$/.test(value) && Number(value) >= least) return Number(value);
  throw new SetupError(`--${name} must be a whole number from ${least}, not "${value}"\n\n${USAGE}`);
}

/** Nothing of the user's own settings for a peer, which could not hold for both. */
function environment(registry, messages, intervalMs) {
  const own = Object.entries(process.env).filter(([name]) => !/^(MESH|HTTP)_/.test(name));
  return {
    ...Object.fromEntries(own),
    MESH_REGISTRY: registry,
    MESH_MESSAGES: messages === undefined ? '' : String(messages),
    MESH_INTERVAL: String(intervalMs / 1_000),
    MESH_INTERVAL_MS: String(intervalMs),
    HTTP_PORT: '0',
  };
}

function withoutPassword(url) {
  return url.replace(/\/\/[^@/]*@/, '//***@');
}

function quote(lines) {
  return lines.length === 0 ? '' : `, after\n${lines.map((line) => `  ${line}`).join('\n')}`;
}
