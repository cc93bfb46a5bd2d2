/** All that stands while the bench runs: a folder, servers, and the programs of each peer. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeCertificates } from './certificates.js';
import { PYTHON_FOLDER } from './program/program.js';
import { startPair, stopPair, type Pair } from './pair.js';
import type { Peer, ServerName } from './peers/peer.js';
import { reasonAbsent, startServer, type StandingServer } from './servers/server.js';

/** Starts what is needed when it is needed, and ends all of it. */
export class Lab {
  readonly folder = mkdtempSync(join(tmpdir(), 'mesh-bench-'));
  private readonly servers = new Map<ServerName, StandingServer>();
  private readonly pairs = new Map<string, Pair>();

  constructor() {
    process.on('exit', () => rmSync(this.folder, { recursive: true, force: true }));
    makeCertificates(this.folder);
  }

  /** The programs of a peer, started by the first who asks. */
  async pair(peer: Peer): Promise<Pair> {
    const standing = this.pairs.get(peer.name);
    if (standing !== undefined) return standing;
    const servers: { [name: string]: string } = {};
    for (const name of peer.needs ?? []) servers[name] = (await this.server(name)).url;
    const pair = await startPair(peer, { servers, folder: this.folder });
    this.pairs.set(peer.name, pair);
    return pair;
  }

  /** Ends the programs of a peer; the next {@link pair} starts them anew. */
  async drop(peer: Peer): Promise<void> {
    const pair = this.pairs.get(peer.name);
    this.pairs.delete(peer.name);
    if (pair !== undefined) await stopPair(pair);
  }

  async server(name: ServerName): Promise<StandingServer> {
    const standing = this.servers.get(name) ?? (await startServer(name, this.folder));
    this.servers.set(name, standing);
    return standing;
  }

  async close(): Promise<void> {
    await Promise.all([...this.pairs.values()].map(stopPair));
    await Promise.all([...this.servers.values()].map((server) => server.stop()));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Why a peer cannot be measured on this machine, or `undefined` when it can. */
export function absence({ needs = [], server, client }: Peer): string | undefined {
  for (const name of needs) {
    const reason = reasonAbsent(name);
    if (reason !== undefined) return reason;
  }
  const files = [server, client].flatMap((side) => (side.kind === 'python' ? [side.file] : []));
  if (files.length > 0 && (process.env['MESH_BENCH_PYTHON'] ?? '') === '') {
    return process.env['MESH_BENCH_PYTHON_ABSENT'] ?? 'MESH_BENCH_PYTHON does not name an interpreter';
  }
  const missing = files.find((file) => !existsSync(join(PYTHON_FOLDER, file)));
  if (missing !== undefined) return `bench/python/${missing} is not there`;
  return undefined;
}
