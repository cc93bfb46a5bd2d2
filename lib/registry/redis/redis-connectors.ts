/**
 * How ioredis gets its sockets. Its own connectors listen to the first error of a socket only; a second one (a TLS
 * handshake that is refused and then answered with an alert, for example) would end the process.
 */
import { createConnection, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { AbstractConnector, SentinelConnector, type RedisOptions } from 'ioredis';

/** Connects to one server, by TCP, TLS or a Unix socket. */
class ServerConnector extends AbstractConnector {
  private readonly options: RedisOptions;

  constructor(options: unknown) {
    const redisOptions = options as RedisOptions;
    super(redisOptions.disconnectTimeout ?? 0);
    this.options = redisOptions;
  }

  override async connect(): Promise<Socket> {
    const { host = 'localhost', port = 6379, family = 0, path, tls } = this.options;
    const where = path ? { path } : { host, port, family };
    this.connecting = true;
    // A tick later, so that whoever asked can still change its mind.
    await Promise.resolve();
    if (!this.connecting) throw new Error('Connection is closed.');
    const socket = tls ? connectTls({ ...where, ...tls }) : createConnection(where);
    socket.on('error', (error) => (this.firstError ??= error));
    this.stream = socket;
    return socket;
  }
}

/** Connects to the master that Sentinel names. */
class MasterConnector extends SentinelConnector {
  constructor(options: unknown) {
    super(options as ConstructorParameters<typeof SentinelConnector>[0]);
  }

  override async connect(
    ...args: Parameters<SentinelConnector['connect']>
  ): ReturnType<SentinelConnector['connect']> {
    const socket = await super.connect(...args);
    socket.on('error', (error: Error) => (this.firstError ??= error));
    return socket;
  }
}

/** The connector for these options. */
export function connectorFor(
  options: Pick<RedisOptions, 'sentinels'>,
): new (options: unknown) => AbstractConnector {
  return options.sentinels ? MasterConnector : ServerConnector;
}
