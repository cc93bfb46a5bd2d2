/** Finds or installs a nats-server program, which the benchmark compares with. */
import { findProgram, installSystemPackage, isExecutable } from './system-package.mjs';

/**
 * Finds nats-server: NATS_SERVER, the PATH, or else installs it from the system's packages when permitted.
 *
 * @returns {Promise<{ path: string } | { absent: string }>} `absent`: why there is none
 */
export async function findNats() {
  const given = process.env.NATS_SERVER;
  if (given !== undefined && given !== '') {
    if (isExecutable(given)) return { path: given };
    return { absent: `NATS_SERVER is "${given}", which is not a program that can be run` };
  }
  const found = findProgram('nats-server');
  if (found !== undefined) return { path: found };
  const names = { apt: 'nats-server', brew: 'nats-server', service: 'nats-server' };
  const refusal = await installSystemPackage(names);
  const installed = findProgram('nats-server');
  if (installed !== undefined) return { path: installed };
  return { absent: `no nats-server was found, and ${refusal ?? 'its package does not bring one'}` };
}
