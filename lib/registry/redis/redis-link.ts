/** One standing pair of connections to Redis, commands and events: made once, watched, and thrown away when it fails. */
import { MeshError } from '../../protocol/mesh-error.js';
import type { RegistryClock } from '../registry-clock.js';
import { withinTime } from '../time-limit.js';
import { commandError, connectError, reasonOf } from './redis-errors.js';
import { EVENTS_CHANNEL } from './redis-keys.js';
import type { RedisClient, RedisTarget } from './redis-target.js';

/** What a link is made with. */
export interface RedisLinkOptions {
  readonly target: RedisTarget;
  /** How long connecting, and then each command, may take. */
  readonly timeoutMs: number;
  /** How often each connection is asked for a sign of life. */
  readonly pingEveryMs: number;
  readonly clock: RegistryClock;
  /** Aborts connecting. */
  readonly signal: AbortSignal;
  readonly onEvent: (message: string) => void;
  /** The events cannot be had (not permitted, for example): the link works without them. */
  readonly onNoEvents: (reason: string) => void;
  /** The link is dead and closed itself. At most once, and only after it stood. */
  readonly onLost: (reason: string) => void;
}

/** A link that stands. */
export class RedisLink {
  private lastError: unknown;
  /** What befell one node of a Cluster: tells more than the failure of the whole. */
  private nodeError: unknown;
  private state: 'opening' | 'up' | 'down' = 'opening';
  private cancelPing: (() => void) | undefined;

  private constructor(
    private readonly options: RedisLinkOptions,
    /** The connection for commands; use it through {@link run}. */
    private readonly commands: RedisClient,
    private readonly subscriber: RedisClient,
  ) {}

  /** Connects, or rejects with a `MeshError` within `timeoutMs`; then nothing is left behind. */
  static async open(options: RedisLinkOptions): Promise<RedisLink> {
    const { target, timeoutMs } = options;
    const commands = target.commands(timeoutMs);
    const link = new RedisLink(options, commands, target.subscriber(timeoutMs) ?? commands);
    try {
      await withinTime(options.clock, timeoutMs, link.connect(), options.signal);
      link.state = 'up';
    } catch (error) {
      await link.close();
      const cause = link.nodeError ?? link.lastError ?? error;
      throw connectError(target.url, isVague(cause) ? 'no connection could be made' : cause);
    }
    link.pingLater();
    return link;
  }

  /** Runs one command. No answer in time means that the link is dead, and it is dropped. */
  async run<T>(command: (redis: RedisClient) => Promise<T>): Promise<T> {
    const { target, timeoutMs } = this.options;
    if (this.state !== 'up') throw commandError(target.url, new Error('the connection is closed'));
    try {
      return await withinTime(this.options.clock, timeoutMs, command(this.commands));
    } catch (error) {
      if (MeshError.is(error)) this.drop(error.rawMessage);
      // A replica that was promoted away: dialling again finds the master.
      else if (/^READONLY\b/.test(reasonOf(error))) this.drop(reasonOf(error));
      throw commandError(target.url, MeshError.is(error) ? error.rawMessage : error);
    }
  }

  /** Ends both connections; resolves when their sockets are gone. Never rejects. */
  async close(): Promise<void> {
    this.state = 'down';
    this.cancelPing?.();
    await Promise.all([...this.clients()].map((client) => ended(client, this.options.clock)));
  }

  private async connect(): Promise<void> {
    for (const client of this.clients()) {
      client.on('error', (error: unknown) => this.failed(error));
      client.on('node error', (error: unknown) => {
        if (this.nodeError === undefined || isVague(this.nodeError)) this.nodeError = error;
      });
      // An 'end' without an error is told in the words of whatever failed last.
      client.on('end', () => this.drop(reasonOf(this.lastError ?? 'the connection was closed')));
    }
    await Promise.all([...this.clients()].map((client) => client.connect()));
    // A database that does not exist is only an event for ioredis, which then goes on with database 0.
    if (this.lastError !== undefined) throw this.lastError;
    this.subscriber.on('message', (channel: string, message: string) => {
      if (channel === EVENTS_CHANNEL) this.options.onEvent(message);
    });
    await this.subscriber.subscribe(EVENTS_CHANNEL).catch((error: unknown) => {
      if (!/^NOPERM\b/.test(reasonOf(error))) throw error;
      this.options.onNoEvents(reasonOf(error));
    });
  }

  private failed(error: unknown): void {
    // The first one tells why; those that follow say that the connection is closed.
    if (this.state === 'opening') this.lastError ??= error;
    else this.lastError = error;
  }

  private drop(reason: string): void {
    if (this.state !== 'up') return;
    void this.close();
    this.options.onLost(reason);
  }

  private pingLater(): void {
    this.cancelPing = this.options.clock.setTimer(this.options.pingEveryMs, () => {
      const pings = [...this.clients()].map((client) => client.ping());
      withinTime(this.options.clock, this.options.timeoutMs, Promise.all(pings)).then(
        () => {
          if (this.state === 'up') this.pingLater();
        },
        (error: unknown) => this.drop(MeshError.is(error) ? error.rawMessage : reasonOf(error)),
      );
    });
  }

  private clients(): Set<RedisClient> {
    return new Set([this.commands, this.subscriber]);
  }
}

/** ioredis says this of every command that was under way, whatever the reason. */
function isVague(error: unknown): boolean {
  return reasonOf(error) === 'Connection is closed.';
}

/** A client that is not told the end of its own connections (a hung Sentinel, a Cluster with no node left) is left behind. */
const END_TIMEOUT_MS = 1_000;

function ended(client: RedisClient, clock: RegistryClock): Promise<void> {
  return new Promise((resolve) => {
    if (client.status === 'end') return resolve();
    const cancelTimer = clock.setTimer(END_TIMEOUT_MS, resolve);
    client.once('end', () => {
      cancelTimer();
      resolve();
    });
    client.disconnect();
  });
}
