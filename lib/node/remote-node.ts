/** One known node of another service: its record, the session with it, and the packet channel that calls travel on. */
import type { Session } from '../transport/session.js';
import type { AcceptedStream } from '../transport/stream-opening.js';
import type { Http2Stream, OutgoingHttpHeaders } from 'node:http2';
import { HEADER, headerOf } from '../protocol/headers.js';
import { MeshError } from '../protocol/mesh-error.js';
import type { NodeRecord } from '../registry/node-record.js';
import { NodeLoad, type ServiceLoad } from '../routing/node-load.js';
import { announcedOf, type Announced } from '../registry/announced.js';
import type { Ejection, NodeHealth } from '../routing/ejection.js';
import type { Candidate } from '../routing/picker.js';
import { addressOf } from '../transport/network.js';
import type { PacketChannel, PacketHandler } from '../transport/packet-channel.js';
import { openDialledChannel } from './dialled-channel.js';
import { DialledSession } from './dialled-session.js';
import type { ResolvedOptions } from './mesh-options.js';
import type { PeerEventBoard } from './peer-events.js';
import { NodePlace } from './node-place.js';
import type { PeerState } from './peer-status.js';
import { openingHeaders } from './opening.js';
import { RetryTimer } from './retry-timer.js';

/** What a remote node needs of the node it belongs to. */
export interface RemoteNodeDeps {
  readonly options: ResolvedOptions;
  readonly packets: PacketHandler;
  /** Told of what becomes of it. */
  readonly peers: PeerEventBoard;
  /** True while this node is to be called over the channels that it opens. */
  servesOnChannels(): boolean;
}

/** Which node it is. */
export interface RemoteNodeIdentity {
  readonly id: string;
  readonly service: string;
  /** What the registry lists; `undefined` for a node that opens no port: it is there for as long as its own channel is. */
  readonly record: NodeRecord | undefined;
}

/** How a remote node stands with the directory it is in. */
export interface RemoteNodeHost {
  /** What its calls count to. */
  readonly load: ServiceLoad<RemoteNode>;
  /** What its health is judged by. */
  readonly ejection: Ejection;
  /** True when a node that is found now has just begun. */
  isNew(): boolean;
  /** The channel that the node has opened to us: it serves our calls too. */
  channel(): PacketChannel | undefined;
  /** True when it is to be reached again once it has failed; otherwise it is left until somebody asks for it. */
  isWanted(): boolean;
  /** It can or cannot be used now, or has been dialled. */
  onChange(): void;
}

/** How long a peer may take to end its half when this node closes; GOAWAY comes after it. */
const CLOSE_TIMEOUT_MS = 1_000;

export class RemoteNode implements Candidate {
  readonly id: string;
  readonly service: string;
  /** The calls of this node that are open there, and how long its answers take. */
  readonly load: NodeLoad<RemoteNode>;
  /** How its calls have ended. */
  readonly health: NodeHealth;
  /** Where its calls count. */
  readonly place: NodePlace<RemoteNode>;
  /** True while the registry lists it. */
  listed: boolean;
  /** It said that it takes nothing new; that holds until its connection ends. */
  draining = false;
  /** Why the last attempt to reach it failed; `undefined` once one has worked. */
  lastError: MeshError | undefined;

  /** What {@link lastError} was before the node was left for somebody to ask for it. */
  private earlierError: MeshError | undefined;
  private readonly connection: DialledSession;
  private dialled: PacketChannel | undefined;
  private connecting: Promise<PacketChannel> | undefined;
  private kept = false;
  private readonly retries: RetryTimer;
  /** Runs while it is passed over because it has refused something new. */
  private readonly passing: RetryTimer;
  private refusal: MeshError | undefined;
  private closed = false;
  /** Streams to it that are open, beside the packet channel. */
  private streams = 0;
  /** Streams to it that were ever opened. */
  private opened = 0;
  private current: NodeRecord | undefined;
  private announced: Announced;

  constructor(
    { id, service, record }: RemoteNodeIdentity,
    private readonly deps: RemoteNodeDeps,
    private readonly host: RemoteNodeHost,
  ) {
    this.id = id;
    this.service = service;
    const since = host.isNew() ? performance.now() : -Infinity;
    this.load = new NodeLoad<RemoteNode>(this, host.load, since, () => this.weight);
    this.health = host.ejection.watch((why) => {
      if (why !== undefined)
        deps.options.logger.warn(`${this.service} (${this.address}) is left out: ${why}`);
      host.onChange();
    });
    this.place = new NodePlace(this.load, this.health);
    this.current = record;
    this.announced = announcedOf(record);
    this.listed = record !== undefined;
    this.connection = new DialledSession(deps.options, {
      onOpened: () => this.host.onChange(),
      onLost: (error) => this.onLost(error),
      onAged: () => this.renewSession(),
    });
    this.retries = new RetryTimer(deps.options.reconnect, () => this.retry());
    this.passing = new RetryTimer(deps.options.reconnect, () => {
      this.refusal = undefined;
      this.host.onChange();
    });
  }

  get record(): NodeRecord | undefined {
    return this.current;
  }

  get weight(): number {
    return this.announced.weight;
  }

  get zone(): string | undefined {
    return this.announced.zone;
  }

  get address(): string {
    const { current } = this;
    if (current !== undefined) return addressOf(current.host, current.port);
    return this.host.channel()?.peer.address ?? 'a node without a port';
  }

  /** The channel that this side has opened, on which the node may call us back. */
  get ownChannel(): PacketChannel | undefined {
    return this.dialled;
  }

  /** True while a connection that this side has opened stands. */
  get isDialled(): boolean {
    return this.connection.alive;
  }

  /** True while something is open over the session that this side has opened. */
  get busy(): boolean {
    const { dialled } = this;
    return (
      this.streams > 0 || (dialled !== undefined && (dialled.openCalls > 0 || dialled.wishedStreams > 0))
    );
  }

  /** Another number as soon as anything goes over the session that this side has opened. */
  get traffic(): number {
    return this.opened + (this.dialled?.traffic ?? 0);
  }

  /** How it can be used now. */
  get state(): PeerState {
    if (this.draining) return 'draining';
    if (this.channel !== undefined || this.connection.usable) return 'connected';
    if (this.connecting !== undefined || this.connection.isDialing) return 'connecting';
    return this.lastError === undefined ? 'idle' : 'unreachable';
  }

  /** A channel that takes calls now. */
  get channel(): PacketChannel | undefined {
    if (this.dialled?.usable === true) return this.dialled;
    const inbound = this.host.channel();
    return inbound?.usable === true ? inbound : undefined;
  }

  /**
   * True while calls may be given to it: it is reached, or was never tried. One that failed is tried again in the background,
   * so that no call waits for a node which may not be there.
   */
  get available(): boolean {
    if (this.closed || this.draining || this.refusal !== undefined) return false;
    return this.channel !== undefined || (this.listed && this.lastError === undefined);
  }

  /** True for a node of its service; false for one that has only called this node, and is reached by its id alone. */
  get isMember(): boolean {
    return this.current !== undefined || this.host.channel()?.peer.listens === false;
  }

  /** True while anything keeps it: its record, or a live connection (which outranks a missing record). */
  get known(): boolean {
    return !this.closed && (this.listed || this.connection.alive || this.channel !== undefined);
  }

  /** Takes over what the registry lists now. An address that has moved is dialled anew. */
  update(record: NodeRecord): void {
    const moved = record.host !== this.current?.host || record.port !== this.current.port;
    const isBack = !this.listed;
    if (record !== this.current) this.announced = announcedOf(record);
    this.current = record;
    this.listed = true;
    if (!moved && !isBack) return;
    this.retries.stop();
    this.retries.succeeded();
    this.lastError = undefined;
    if (moved) this.connection.retire(this.releaseChannel());
  }

  /** Begins to connect unless it is under way; `onChange` tells when that has worked or failed. */
  connectSoon(): void {
    if (!this.retries.waiting) this.connect().catch(ignoreTold);
  }

  /** Connects unless there is a channel already. One that the peer has ended is opened again after a while. */
  keepConnected(): void {
    this.kept = true;
    if (!this.draining && this.channel === undefined) this.connectSoon();
  }

  /** Gives up the channel that this side has opened: its next call opens another one. */
  releaseChannel(): PacketChannel | undefined {
    const { dialled } = this;
    this.dialled = undefined;
    return dialled;
  }

  /** Ends the session that this side has opened, once what is open on it has ended. The next call opens another one. */
  release(): void {
    this.connection.retire(this.releaseChannel());
    this.host.onChange();
  }

  /** The next session takes the place of this one, which ends with what is open on it. */
  private renewSession(): void {
    if (this.closed) return;
    if (this.connecting !== undefined) {
      // The channel that is being opened belongs to the session that is to go.
      void this.connecting.catch(ignoreTold).then(() => this.renewSession());
      return;
    }
    this.connection.retire(this.releaseChannel());
    if (this.listed && !this.draining) this.connectSoon();
    this.host.onChange();
  }

  /** Opens the channel that this side has opened anew, since what it says of this node no longer holds. */
  renewChannel(): void {
    const old = this.releaseChannel();
    if (old === undefined) return;
    // What the peer has sent on it until it knew has come when it has answered the new one.
    void this.connect()
      .catch(ignoreTold)
      .finally(() => old.onIdle(() => old.close()));
  }

  /** A packet channel that takes calls. Rejects with a `MeshError` (`not-sent` or `refused`). */
  connect(): Promise<PacketChannel> {
    const { channel } = this;
    if (channel !== undefined) return Promise.resolve(channel);
    this.connecting ??= this.openPacketChannel().finally(() => {
      this.connecting = undefined;
    });
    return this.connecting;
  }

  /**
   * Opens a further stream to it; with `back` over the channel that it has opened, where this side has none. Rejects with a
   * `MeshError` (`not-sent` or `refused`).
   */
  async openStream(headers: OutgoingHttpHeaders, back = false): Promise<AcceptedStream> {
    const { options } = this.deps;
    const { channel } = this;
    // A node with a port may be out of reach, too, and have dialled this one.
    const undialled = back || this.current === undefined || this.lastError !== undefined;
    if (channel?.dialled === false && undialled) {
      const wished = await channel.openStream(headers, options.connectTimeoutMs);
      this.passing.succeeded();
      return wished;
    }
    if (this.current === undefined) throw this.gone();
    let session: Session;
    try {
      session = await this.dial();
    } catch (error) {
      const failure = this.attemptFailed(asNotSent(error));
      // Now it is known to be out of reach, so this goes over its own channel, if there is one.
      if (this.channel?.dialled === false) return this.openStream(headers);
      throw failure;
    }
    const accepted = await session.open({ ...openingHeaders(options), ...headers }, options.connectTimeoutMs);
    this.passing.succeeded();
    const moved = this.identityFault(session, headerOf(accepted.headers, HEADER.nodeId));
    if (moved !== undefined) throw this.attemptFailed(moved);
    this.countStream(accepted.stream);
    // On it the peer can call back. One that knows part 1 only would take it for a further channel to its own handlers.
    if (this.channel === undefined && headerOf(accepted.headers, HEADER.version) !== undefined)
      this.connectSoon();
    return accepted;
  }

  /**
   * It has refused something new for a reason that may pass, as one does that shuts down and whose drain is still on its way:
   * nothing is given to it for a while, which is the longer the more often that happens.
   */
  passOver(reason: MeshError): void {
    if (this.closed) return;
    this.refusal = reason;
    this.passing.start();
    this.host.onChange();
  }

  /** Why nothing is given to it, as far as it is known. */
  get fault(): MeshError | undefined {
    return this.lastError ?? this.refusal ?? this.earlierError;
  }

  /** Fails the calls that are open, lets what was sent leave, and resolves when the connection is gone. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    this.health.stop();
    this.retries.stop();
    this.passing.stop();
    const session = this.connection.stop();
    const { dialled } = this;
    if (dialled !== undefined) {
      dialled.close();
      await within(dialled.whenClosed, CLOSE_TIMEOUT_MS);
    }
    await session?.closeWithin(CLOSE_TIMEOUT_MS);
  }

  private async openPacketChannel(): Promise<PacketChannel> {
    const { options, packets } = this.deps;
    const { service } = this;
    const serves = this.deps.servesOnChannels();
    try {
      const session = await this.dial();
      const channel = await openDialledChannel(session, { options, packets, service, serves });
      if (this.closed) {
        channel.start();
        channel.close();
        throw this.gone();
      }
      const moved = this.identityFault(session, channel.peer.nodeId);
      if (moved !== undefined) throw moved;
      channel.start();
      this.dialled = channel;
      this.opened += 1;
      void channel.whenClosed.then(() => {
        if (this.dialled !== channel) return;
        this.dialled = undefined;
        if (this.kept && this.connection.usable) this.retryLater();
      });
    } catch (error) {
      // The session may carry raw channels: it stays, unless it is what failed.
      throw this.attemptFailed(asNotSent(error));
    }
    this.retries.succeeded();
    // What it was like before it was gone no longer holds.
    if (this.lastError !== undefined || this.earlierError !== undefined)
      this.load.recovered(0, performance.now());
    this.lastError = undefined;
    this.earlierError = undefined;
    const channel = this.dialled;
    this.deps.peers.opened(channel);
    if (serves !== this.deps.servesOnChannels()) {
      this.outdated(channel, serves);
      return this.openPacketChannel();
    }
    this.host.onChange();
    return channel;
  }

  private dial(): Promise<Session> {
    const { current } = this;
    return current === undefined
      ? Promise.reject(this.gone())
      : this.connection.to(current.host, current.port);
  }

  /** A record can outlive its node, and the port can have a new owner: then the session is no use. */
  private identityFault(session: Session, nodeId: string | undefined): MeshError | undefined {
    if (nodeId === undefined || nodeId === this.id) return undefined;
    this.connection.drop(session);
    return new MeshError('UNAVAILABLE', `${this.address} is now node ${nodeId}, not ${this.id}`, {
      delivery: 'not-sent',
    });
  }

  private onLost(error: MeshError): void {
    this.dialled = undefined;
    this.draining = false;
    if (!this.closed) this.failed(error);
  }

  /** An attempt to reach it has failed. */
  private attemptFailed(error: MeshError): MeshError {
    const { service, id: nodeId, address } = this;
    if (!this.closed && this.current !== undefined)
      this.deps.peers.failed({ service, nodeId, address }, error);
    return this.failed(error);
  }

  /** Leaves the node alone for a while; then it is reached again in the background, as long as it is listed. */
  private failed(error: MeshError): MeshError {
    this.lastError = error;
    this.retryLater();
    this.host.onChange();
    return error;
  }

  private retry(): void {
    if (this.host.isWanted()) {
      this.host.onChange();
      if (this.listed && !this.draining && !this.closed) this.connectSoon();
      return;
    }
    // Who asks for it finds out.
    if (this.connecting === undefined) {
      this.earlierError = this.lastError;
      this.lastError = undefined;
    }
    this.host.onChange();
  }

  private countStream(stream: Http2Stream): void {
    this.opened += 1;
    if (stream.destroyed) return;
    this.streams += 1;
    this.load.begin();
    stream.once('close', () => {
      this.streams -= 1;
      this.load.end();
    });
  }

  private retryLater(): void {
    if (!this.closed && this.listed && !this.draining) this.retries.start();
  }

  /** This node began or ceased to serve while the channel was being opened: another one takes its place. */
  private outdated(channel: PacketChannel, serves: boolean): void {
    this.releaseChannel();
    // A peer that has listed this node already ends the channel once it has nothing open on it.
    if (serves) channel.drain();
    else channel.onIdle(() => channel.close());
  }

  private gone(): MeshError {
    return new MeshError('UNAVAILABLE', `node ${this.id} opens no port, and its channel is gone`, {
      delivery: 'not-sent',
    });
  }
}

function asNotSent(error: unknown): MeshError {
  return MeshError.from(error, 'INTERNAL', { delivery: 'not-sent' });
}

/** Resolves with `promise`, or after `limitMs`. */
async function within(promise: Promise<void>, limitMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, limitMs);
  });
  await Promise.race([promise, limit]);
  clearTimeout(timer);
}

function ignoreTold(): void {
  // onChange has told, and lastError keeps the reason.
}
