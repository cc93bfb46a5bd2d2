/** The connection that this side opens to a node: dialled once for all who want it, left behind when the node has moved. */
import { MeshError } from '../protocol/mesh-error.js';
import { dial } from '../transport/dialer.js';
import type { PacketChannel } from '../transport/packet-channel.js';
import type { Session } from '../transport/session.js';
import type { ResolvedOptions } from './mesh-options.js';

/** Who is told of what becomes of the connection. */
export interface DialledSessionEvents {
  /** A connection stands. */
  onOpened(): void;
  /** The connection that stood is gone. */
  onLost(error: MeshError): void;
  /** The connection has stood for as long as one may: another one is to take its place. */
  onAged(): void;
}

/** The longest delay that a timer of Node takes. */
const MAX_TIMER_MS = 2 ** 31 - 1;
/** So much longer or shorter may each connection stand, so that those which were opened together do not end together. */
const AGE_JITTER = 0.1;

export class DialledSession {
  private session: Session | undefined;
  private dialing: Promise<Session> | undefined;
  /** Sessions with addresses that the node has left; they end with what is open on them. */
  private readonly retired = new Set<Session>();
  private readonly stopped = new AbortController();

  constructor(
    private readonly options: ResolvedOptions,
    private readonly events: DialledSessionEvents,
  ) {}

  /** True while a connection stands. */
  get alive(): boolean {
    return this.session?.alive === true;
  }

  /** True while streams can be opened on it. */
  get usable(): boolean {
    return this.session?.usable === true;
  }

  get isDialing(): boolean {
    return this.dialing !== undefined;
  }

  /** The connection that can be used, or a new one. Rejects with a `MeshError` (`not-sent`). */
  to(host: string, port: number): Promise<Session> {
    if (this.session?.usable === true) return Promise.resolve(this.session);
    this.dialing ??= this.open(host, port).finally(() => {
      this.dialing = undefined;
    });
    return this.dialing;
  }

  /** Ends a session that turned out to be no use. */
  drop(session: Session): void {
    if (this.session === session) this.session = undefined;
    session.destroy();
  }

  /** Leaves the session to what is open on it; `channel` is the packet channel on it. */
  retire(channel: PacketChannel | undefined): void {
    const { session } = this;
    this.session = undefined;
    if (session === undefined) return;
    this.retired.add(session);
    session.onClose(() => this.retired.delete(session));
    channel?.onIdle(() => channel.close());
    void (channel?.whenClosed ?? Promise.resolve()).then(() => session.close());
  }

  /** Dials no more and ends what is retired. Returns the session that still stands. */
  stop(): Session | undefined {
    this.stopped.abort();
    for (const retired of this.retired) retired.destroy();
    return this.session;
  }

  private async open(host: string, port: number): Promise<Session> {
    const { signal } = this.stopped;
    if (signal.aborted)
      throw new MeshError('UNAVAILABLE', 'the mesh node is closed', { delivery: 'not-sent' });
    const session = await dial(host, port, { ...this.options, signal });
    if (signal.aborted) {
      session.destroy();
      throw new MeshError('UNAVAILABLE', 'the mesh node was closed', { delivery: 'not-sent' });
    }
    this.session = session;
    const age = this.ageLimit(session);
    session.onClose((error) => {
      clearTimeout(age);
      if (this.session !== session) return;
      this.session = undefined;
      this.events.onLost(error);
    });
    this.events.onOpened();
    return session;
  }

  private ageLimit(session: Session): NodeJS.Timeout | undefined {
    const { sessionMaxAgeMs } = this.options;
    if (sessionMaxAgeMs === 0) return undefined;
    const limitMs = sessionMaxAgeMs * (1 - AGE_JITTER + 2 * AGE_JITTER * Math.random());
    const task = (): void => {
      if (this.session === session) this.events.onAged();
    };
    return setTimeout(task, Math.min(limitMs, MAX_TIMER_MS)).unref();
  }
}
