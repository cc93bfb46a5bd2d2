/** The two programs of a peer while it is measured, and what they were told. */
import { Program, type ProgramOptions } from './program/program.js';
import type { Peer } from './peers/peer.js';
import type { Json, Surroundings } from './program/protocol.js';

/** A connected client and its server. */
export interface Pair {
  readonly peer: Peer;
  readonly server: Program;
  readonly client: Program;
  /** What the client was told: with it a case can start further clients ({@link startClient}). */
  readonly surroundings: Surroundings;
}

/** Starts a server and a client of it. */
export async function startPair(
  peer: Peer,
  around: Omit<Surroundings, 'settings' | 'address'>,
  options?: ProgramOptions,
): Promise<Pair> {
  const server = Program.start(`${peer.label}, server`, peer.server, options);
  try {
    const told = { ...around, settings: peer.settings ?? null, address: null };
    const surroundings: Surroundings = { ...told, address: await server.ask<Json>('serve', told) };
    const client = await startClient(peer, surroundings, options);
    return { peer, server, client, surroundings };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/** Starts one more client of a running server. */
export async function startClient(
  peer: Peer,
  surroundings: Surroundings,
  options?: ProgramOptions,
): Promise<Program> {
  const client = Program.start(`${peer.label}, client`, peer.client, options);
  try {
    await client.ask('connect', surroundings);
    return client;
  } catch (error) {
    await client.stop();
    throw error;
  }
}

/** Ends both programs. */
export async function stopPair({ server, client }: Pair): Promise<void> {
  await client.stop();
  await server.stop();
}
