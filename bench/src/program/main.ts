/** The Node program of one side of a peer: `main.js MODULE` loads `peers/MODULE.js` and nothing of the other peers. */
import { findCase } from '../cases/index.js';
import { Recorder } from '../profile/recorder.js';
import { messageOf, type Client, type PeerModule, type Serving } from '../peers/peer.js';
import type { Command, Json, Reply, Surroundings, Usage } from './protocol.js';

const [module] = process.argv.slice(2);
const peer = (await import(`../peers/${module}.js`)) as PeerModule;

let serving: Serving | undefined;
let client: Client | undefined;
const crowd: Client[] = [];
const CROWD_BYTES = 100;
const recorder = new Recorder();

const commands: { [name in Command['command']]: (args: never) => Promise<unknown> } = {
  async serve(surroundings: Surroundings) {
    serving = await peer.serve(surroundings);
    return serving.address;
  },
  async connect(surroundings: Surroundings) {
    client = await peer.connect(surroundings);
  },
  async crowd({ surroundings, count }: { surroundings: Surroundings; count: number }) {
    for (let n = 0; n < count; n += 1) {
      const one = await peer.connect(surroundings);
      crowd.push(one);
      await one.call?.(messageOf(CROWD_BYTES, n));
    }
  },
  async check(args: { case: string }) {
    await findCase(args.case).check?.(connected());
  },
  async drive(args: { case: string; windowMs: number; args?: Json }) {
    return findCase(args.case).drive?.(connected(), args);
  },
  async usage({ collect = false }: { collect?: boolean }): Promise<Usage> {
    if (collect) globalThis.gc?.();
    const { user, system } = process.cpuUsage();
    const { rss, heapUsed } = process.memoryUsage();
    return { cpuUs: user + system, rssBytes: rss, heapBytes: heapUsed };
  },
  async received() {
    return serving?.received?.() ?? { events: 0, lastAtMs: 0 };
  },
  async record({ intervalUs }: { intervalUs: number }) {
    await recorder.start(intervalUs);
  },
  async recorded() {
    return recorder.stop();
  },
  async stop() {
    await Promise.all(crowd.map((one) => one.close()));
    await client?.close();
    await serving?.close();
    client = serving = undefined;
  },
};

function connected(): Client {
  if (client === undefined) throw new Error('this program is no client: ask "connect" first');
  return client;
}

async function answer({ id, command, args }: Command): Promise<Reply> {
  try {
    return { id, result: ((await commands[command](args as never)) ?? null) as Json };
  } catch (error) {
    return { id, error: error instanceof Error ? (error.stack ?? error.message) : JSON.stringify(error) };
  }
}

process.on('message', (message) => {
  const command = message as Command;
  void answer(command).then((reply) =>
    process.send?.(reply, undefined, undefined, () => {
      // A library may hold sockets or timers open after its close.
      if (command.command === 'stop') process.exit(0);
    }),
  );
});
// The bench is gone: nothing of it may stay.
process.on('disconnect', () => process.exit(1));
