/** What can be set from outside: environment variables, each with a default. */
import type { MeshOptions } from 'nestjs-mesh';

/** The settings of the sample. */
export interface Settings {
  /** Where nodes find each other: `MESH_REGISTRY`, else `REDIS_URL`. */
  readonly registry: string;
  /** Where the mesh listens: `MESH_HOST`, `MESH_PORT` (0: any free port). */
  readonly host: string;
  readonly port: number;
  /** What peers dial instead, when that differs: `MESH_ADVERTISE`, as HOST or HOST:PORT. */
  readonly advertise: MeshOptions['advertise'];
  /** Where HTTP listens: `HTTP_HOST`, `HTTP_PORT` (0: any free port). */
  readonly httpHost: string;
  readonly httpPort: number;
  /** How many messages to send: `MESH_MESSAGES`; without it there is no end. */
  readonly messages: number;
  /** Pause between two messages, in ms: `MESH_INTERVAL_MS`; 0 is as fast as possible. */
  readonly intervalMs: number;
}

/** Reads the settings; an empty variable counts as not set. Throws an error that names the variable and its value. */
export function readSettings(env: NodeJS.ProcessEnv = process.env): Settings {
  return {
    registry: env['MESH_REGISTRY'] || env['REDIS_URL'] || 'redis://localhost:6379',
    host: env['MESH_HOST'] || '127.0.0.1',
    port: whole('MESH_PORT', 0, 65_535),
    advertise: env['MESH_ADVERTISE'] ? addressOf(env['MESH_ADVERTISE']) : undefined,
    httpHost: env['HTTP_HOST'] || '127.0.0.1',
    httpPort: whole('HTTP_PORT', 3_000, 65_535),
    messages: whole('MESH_MESSAGES', Infinity),
    intervalMs: whole('MESH_INTERVAL_MS', 1_000, 2 ** 31 - 1),
  };

  function whole(name: string, otherwise: number, most = Number.MAX_SAFE_INTEGER): number {
    const value = env[name];
    if (!value) return otherwise;
    if (/^\d+$/.test(value) && Number(value) <= most) return Number(value);
    throw new Error(`${name} must be a whole number from 0 to ${most}, not ${JSON.stringify(value)}`);
  }
}

/** `name`, `name:port`, `1.2.3.4:port`, `[::1]:port`, or a bare IPv6 address. */
function addressOf(value: string): MeshOptions['advertise'] {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(value) ?? [];
  const host = bracketed ?? plain;
  return host === undefined ? { host: value } : { host, port: Number(port) };
}
