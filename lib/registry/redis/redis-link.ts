/**
 * One standing connection to Redis for commands and events, or two where Redis speaks RESP2 only: made once, watched, and
 * thrown away when it fails.
 */
import { MeshError } from '../../protocol/mesh-error.js';
import type { RegistryClock } from '../registry-clock.js';
import { withinTime } from '../time-limit.js';
import { commandError, connectError, reasonOf } from './redis-errors.js';
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
  /** The channels to hear from the beginning. */
  readonly channels: readonly string[];
  readonly onEvent: (channel: string, message: string) => void;
  /** What is published on `channel` cannot be had (not permitted, for example): the link works without it. */
  readonly onNoEvents: (channel: string, reason: string) => void;
  /** The link is dead and closed itself. At most once, and only after it stood. */
  readonly onLost: (reason: string) => void;
}

/** A connection on which Redis answered within so many intervals needs no ping: heartbeats come at 0.9 to 1.1 of one. */
const QUIET_INTERVALS = 1.5;

/** A link that stands. */
export class RedisLink {
  private lastError: unknown;
  /** What befell one node of a Cluster: tells more than the failure of the whole. */
  private nodeError: unknown;
  private state: 'opening' | 'up' | 'down' = 'opening';
  private cancelPing: (() => void) | undefined;
  private subscriber: RedisClient;
  /** When Redis answered on the connection for commands last. */
  private answeredAt = -Infinity;

  private constructor(
    private readonly options: RedisLinkOptions,
    /** The connection for commands; use it through {@link run}. */
    private readonly commands: RedisClient,
  ) {
    this.subscriber = commands;
  }

  /** Connects, or rejects with a `MeshError` within `timeoutMs`; then nothing is left behind. */
  static async open(options: RedisLinkOptions): Promise<RedisLink> {
    const { target, timeoutMs } = options;
    const link = new RedisLink(options, target.commands(timeoutMs));
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
      const answer = await withinTime(this.options.clock, timeoutMs, command(this.commands));
      this.answeredAt = this.options.clock.now();
      return answer;
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

  /** Hears `channel` too. Resolves when that has begun or cannot be; never rejects. */
  async listen(channel: string): Promise<void> {
    try {
      await withinTime(this.options.clock, this.options.timeoutMs, this.subscribe(channel));
    } catch (error) {
      this.drop(MeshError.is(error) ? error.rawMessage : reasonOf(error));
    }
  }

  /** Hears `channel` no more. Never rejects. */
  unlisten(channel: string): void {
    if (this.state === 'up') this.subscriber.unsubscribe(channel).catch(() => undefined);
  }

  private async connect(): Promise<void> {
    await this.connectOne(this.commands);
    const subscriber = (await this.speaksResp3())
      ? undefined
      : this.options.target.subscriber(this.options.timeoutMs);
    if (subscriber !== undefined) {
      this.subscriber = subscriber;
      await this.connectOne(subscriber);
    }
    this.subscriber.on('message', (channel: string, message: string) =>
      this.options.onEvent(channel, message),
    );
    await Promise.all(this.options.channels.map((channel) => this.subscribe(channel)));
  }

  private async connectOne(client: RedisClient): Promise<void> {
    client.on('error', (error: unknown) => this.failed(error));
    client.on('node error', (error: unknown) => {
      if (this.nodeError === undefined || isVague(this.nodeError)) this.nodeError = error;
    });
    // An 'end' without an error is told in the words of whatever failed last.
    client.on('end', () => this.drop(reasonOf(this.lastError ?? 'the connection was closed')));
    await client.connect();
    // A database that does not exist is only an event for ioredis, which then goes on with database 0.
    if (this.lastError !== undefined) throw this.lastError;
  }

  /** With RESP3 events come beside the answers, on the same connection. A Cluster has a connection for them anyway. */
  private async speaksResp3(): Promise<boolean> {
    if (this.commands.isCluster) return true;
    try {
      const answer = await this.commands.call('HELLO');
      return Array.isArray(answer) && answer[answer.indexOf('proto') + 1] === 3;
    } catch (error) {
      // Before Redis 6, or not permitted.
      if (/^(ERR|NOPERM)\b/.test(reasonOf(error))) return false;
      throw error;
    }
  }

  private async subscribe(channel: string): Promise<void> {
    try {
      await this.subscriber.subscribe(channel);
    } catch (error) {
      if (!/^NOPERM\b/.test(reasonOf(error))) throw error;
      this.options.onNoEvents(channel, reasonOf(error));
    }
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
    const { clock, pingEveryMs, timeoutMs } = this.options;
    this.cancelPing = clock.setTimer(pingEveryMs, () => {
      const clients = this.clients();
      // A command that was answered says as much as a ping.
      if (clock.now() - this.answeredAt < QUIET_INTERVALS * pingEveryMs) clients.delete(this.commands);
      const pings = [...clients].map((client) => client.ping());
      withinTime(clock, timeoutMs, Promise.all(pings)).then(
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
