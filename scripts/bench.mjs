/**
 * `npm run bench`: measures the mesh beside the other transports; installs what is missing first.
 *
 * Arguments go to the benchmark: `npm run bench -- --quick`. `npm run bench -- --help` shows them.
 */
import { join } from 'node:path';
import { ensureBench } from './lib/ensure-bench.mjs';
import { findNats } from './lib/ensure-nats.mjs';
import { ensurePython } from './lib/ensure-python.mjs';
import { ensureRedis } from './lib/ensure-redis.mjs';
import { BENCH, ROOT } from './lib/paths.mjs';
import { run } from './lib/run.mjs';
import { runMain, SetupError } from './lib/setup-error.mjs';

await runMain(async () => {
  const entry = await ensureBench();
  const env = {
    ...(await found('REDIS_SERVER', ensureRedis)),
    ...(await found('NATS_SERVER', natsServer)),
    ...(await found('MESH_BENCH_PYTHON', benchPython)),
  };
  const { code } = await run(process.execPath, [entry, ...process.argv.slice(2)], { cwd: ROOT, env });
  return code;
});

/** What cannot be had is told to the benchmark, which reports the peers that need it as absent. */
async function found(variable, ensure) {
  try {
    return { [variable]: await ensure() };
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    return { [variable]: '', [`${variable}_ABSENT`]: error.message };
  }
}

async function natsServer() {
  const nats = await findNats();
  if ('path' in nats) return nats.path;
  throw new SetupError(nats.absent);
}

function benchPython() {
  return ensurePython({ peer: BENCH, requirements: join('python', 'requirements.txt') });
}
