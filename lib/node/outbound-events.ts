/** Events on their way out: to one node, to every node of a service, or to one node of every service that takes them. */
import { MeshError } from '../protocol/mesh-error.js';
import type { EventAck, Metadata, ResponsePacket } from '../protocol/packet.js';
import type { DeadlineQueue } from '../transport/deadline-queue.js';
import { OutboundCall, type CallObserver, type CallRetry } from '../transport/outbound-call.js';
import type { PacketChannel } from '../transport/packet-channel.js';
import type { Directories } from './directories.js';
import type { Directory } from './directory.js';
import type { NodeWish } from './waiter.js';
import type { EventCounts } from './event-counts.js';
import type { ResolvedOptions } from './mesh-options.js';
import type { RemoteNode } from './remote-node.js';
import { waitForNode } from './pending.js';
import type { Subscribers } from './subscribers.js';
import type { ChannelTarget, Target } from './target.js';

/** An event on its way. */
export interface OutboundEvent {
  readonly pattern: unknown;
  readonly route: string;
  readonly data: unknown;
  readonly metadata: Metadata | undefined;
  /** How long it may wait for a node, and with `ack` for the acknowledgement, in ms; 0 = for ever. */
  readonly timeoutMs: number;
  /** What is waited for. @default only that the event was handed to the transport */
  readonly ack?: EventAck | undefined;
  /** Aborting it ends the waiting. */
  readonly signal?: AbortSignal | undefined;
  /** See `CallRequest`. */
  readonly retry?: CallRetry | undefined;
  readonly idempotent?: boolean | undefined;
  readonly hedgeAfterMs?: number | undefined;
}

/** A node that has an event: it was handed over for it or, with `ack`, acknowledged by it. */
export interface PublishReceipt {
  readonly service: string;
  readonly nodeId: string;
}

/** What the events need of their node. */
export interface OutboundEventsDeps {
  readonly options: ResolvedOptions;
  readonly directories: Directories;
  readonly subscribers: Subscribers;
  readonly deadlines: DeadlineQueue;
  readonly counts: EventCounts;
}

interface DirectoryPlace {
  readonly directory: Directory;
  readonly wish: NodeWish;
}

/** Where one event goes. */
type Place = ChannelTarget | DirectoryPlace;

/** What `emit` gives for every event that was handed to the transport at once. */
export const HANDED_OVER: Promise<void> = Promise.resolve();

export class OutboundEvents {
  constructor(private readonly deps: OutboundEventsDeps) {}

  /**
   * Resolves when the event was handed over or acknowledged; rejects with a `MeshError`, or with what a handler threw. Gives
   * {@link HANDED_OVER} for what was handed over at once: a promise each would cost as much as the event itself.
   */
  emit(target: Target, event: OutboundEvent): Promise<void> {
    try {
      if (event.ack !== undefined) return this.delivered(this.placeOf(target), event);
      const picked = 'channel' in target ? undefined : this.deps.directories.of(target.service).pick(target);
      const channel = 'channel' in target ? target.channel : picked?.channel;
      if (channel === undefined) return this.delivered(this.placeOf(target), event, picked);
      this.send(channel, event);
      return HANDED_OVER;
    } catch (error) {
      return rejected(error);
    }
  }

  /**
   * To every known node. Resolves with the ids of those that have it; the others are logged and counted. Rejects when no node
   * has it, with the reason of the first.
   */
  async broadcast(service: string, event: OutboundEvent): Promise<string[]> {
    const directory = this.deps.directories.of(service);
    const { route: what, timeoutMs, signal } = event;
    try {
      await waitForNode(directory, {}, directory.pick({}), { what, timeoutMs, signal, anyNode: true });
    } catch (error) {
      this.countFailure(error, { directory, wish: {} });
      throw error;
    }
    const nodes = directory.known.filter((node) => node.isMember && !node.draining);
    const receipts = await this.gather(nodes, event, async (node) => {
      const place = { directory, wish: { nodeId: node.id } };
      // A node that cannot be reached is not waited for: the others have the event already.
      const channel = await node.connect().catch((error: unknown) => {
        const failure = MeshError.from(error).at({ service, nodeId: node.id, pattern: what });
        this.countFailure(failure, place);
        throw failure;
      });
      await this.deliver({ channel }, event);
      return { service, nodeId: node.id };
    });
    return receipts.map(({ nodeId }) => nodeId);
  }

  /**
   * To one node of every service that announces a matching pattern. Resolves with those that have it: with none when no service
   * takes the event. Services that it did not reach are logged and counted. Rejects when it reached none of several.
   */
  async publish(event: OutboundEvent): Promise<PublishReceipt[]> {
    const { counts, subscribers, options } = this.deps;
    const { route } = event;
    const timely = subscribers.isReady ? event : await this.whenReady(event);
    const takers = subscribers.takersOf(route);
    if (takers.length === 0) {
      counts.unroutable += 1;
      options.logger.warn(`event '${route}' was published for nobody: no service has announced a handler`);
      return [];
    }
    return this.gather(takers, event, async ({ directory, accepts }) => {
      const nodeId = await this.deliver({ directory, wish: { accepts } }, timely);
      return { service: directory.service, nodeId };
    });
  }

  /** The event with the time that is left to it when the registry has answered. */
  private async whenReady(event: OutboundEvent): Promise<OutboundEvent> {
    const { route: what, timeoutMs, signal } = event;
    const began = performance.now();
    try {
      await this.deps.subscribers.ready({ what, timeoutMs, signal });
    } catch (error) {
      if (!isCancel(error)) this.deps.counts.lost += 1;
      throw error;
    }
    if (timeoutMs === 0) return event;
    return { ...event, timeoutMs: Math.max(1, Math.ceil(timeoutMs - (performance.now() - began))) };
  }

  /** Resolves with what went well. The rest is logged, unless nothing went well: then the first failure is thrown. */
  private async gather<T>(
    places: readonly T[],
    { route }: OutboundEvent,
    deliver: (place: T) => Promise<PublishReceipt>,
  ): Promise<PublishReceipt[]> {
    const outcomes = await Promise.allSettled(places.map(deliver));
    const receipts: PublishReceipt[] = [];
    const failures: unknown[] = [];
    for (const outcome of outcomes) {
      if (outcome.status === 'fulfilled') receipts.push(outcome.value);
      else failures.push(outcome.reason);
    }
    if (receipts.length === 0 && failures.length > 0) throw failures[0];
    for (const failure of failures) this.deps.options.logger.warn(`event '${route}' ${textOf(failure)}`);
    return receipts;
  }

  private placeOf(target: Target): Place {
    return 'channel' in target
      ? target
      : { directory: this.deps.directories.of(target.service), wish: target };
  }

  private async delivered(place: Place, event: OutboundEvent, picked?: RemoteNode): Promise<void> {
    await this.deliver(place, event, picked);
  }

  /** Resolves with the id of the node that has the event. What becomes of it is counted here and in {@link send}. */
  private async deliver(place: Place, event: OutboundEvent, picked?: RemoteNode): Promise<string> {
    if (event.ack === undefined && 'channel' in place) return this.send(place.channel, event);
    const { counts } = this.deps;
    try {
      const nodeId = await (event.ack === undefined && 'directory' in place
        ? this.handOver(place, event, picked ?? place.directory.pick(place.wish))
        : this.acknowledged(place, event));
      counts.sent += 1;
      if (event.ack !== undefined) counts.acknowledged += 1;
      return nodeId;
    } catch (error) {
      this.countFailure(error, place);
      throw error;
    }
  }

  /** Hands the event over at once. Returns the id of the node, or throws the `MeshError` of an event that cannot be sent. */
  private send(channel: PacketChannel, { pattern, route, data, metadata }: OutboundEvent): string {
    try {
      channel.event(pattern, route, data, metadata);
    } catch (error) {
      this.countFailure(error, { channel });
      throw error;
    }
    this.deps.counts.sent += 1;
    return nodeIdOf(channel.peer.nodeId);
  }

  private async handOver(
    { directory, wish }: DirectoryPlace,
    { pattern, route, data, metadata, timeoutMs, signal }: OutboundEvent,
    picked: RemoteNode | undefined,
  ): Promise<string> {
    const use = (channel: PacketChannel): void => channel.event(pattern, route, data, metadata);
    // At once, or in its place among what waits: no call that is made after the event may overtake it.
    if (picked?.channel !== undefined) {
      use(picked.channel);
      return picked.id;
    }
    const { node } = await waitForNode(directory, wish, picked, { what: route, timeoutMs, use, signal });
    return node.id;
  }

  private acknowledged(place: Place, event: OutboundEvent): Promise<string> {
    const { signal } = event;
    return new Promise((resolve, reject) => {
      const service = 'channel' in place ? place.channel.peer.service : place.directory.service;
      const onAbort = (): void => call.fail(aborted(signal), true);
      const observer: CallObserver = {
        onPacket({ err, isDisposed }: ResponsePacket) {
          if (err === undefined && isDisposed !== true) return;
          signal?.removeEventListener('abort', onAbort);
          if (err === undefined) resolve(nodeIdOf(call.carrier?.peerNodeId));
          else reject(err);
        },
        onFailure(error) {
          signal?.removeEventListener('abort', onAbort);
          reject(error);
        },
      };
      const call = new OutboundCall(event, service, observer, this.deps.deadlines);
      if (signal?.aborted === true) {
        call.fail(aborted(signal).withDelivery('not-sent'));
        return;
      }
      signal?.addEventListener('abort', onAbort, { once: true });
      if ('channel' in place) place.channel.request(call);
      else place.directory.place(call, place.wish);
    });
  }

  private countFailure(error: unknown, at: Place): void {
    const { counts } = this.deps;
    if (!MeshError.is(error)) {
      // What a handler threw: the event has reached it.
      counts.sent += 1;
      return;
    }
    if (error.delivery !== 'not-sent') counts.sent += 1;
    if (isCancel(error)) return;
    const nobody = error.code === 'UNIMPLEMENTED' || (error.delivery === 'not-sent' && isUnknown(at));
    if (nobody) counts.unroutable += 1;
    else counts.lost += 1;
  }
}

/** True when the registry lists no node that the event could have gone to. */
function isUnknown(at: Place): boolean {
  if ('channel' in at) return false;
  const { nodeId } = at.wish;
  return !at.directory.known.some((node) => nodeId === undefined || node.id === nodeId);
}

async function rejected(error: unknown): Promise<never> {
  throw error;
}

/** A peer that knows part 1 only may have none. */
function nodeIdOf(nodeId: string | undefined): string {
  return nodeId ?? '';
}

/** Who no longer wants an event has not lost it. */
function isCancel(error: unknown): boolean {
  return MeshError.is(error) && error.code === 'CANCELLED';
}

function aborted(signal: AbortSignal | undefined): MeshError {
  return new MeshError('CANCELLED', 'the signal of the event was aborted', { cause: signal?.reason });
}

/** What happened to the event, for the log: it did not arrive, or its handler failed. */
function textOf(error: unknown): string {
  if (!MeshError.is(error)) return `failed in its handler: ${JSON.stringify(error)}`;
  const { service = 'a service', nodeId } = error;
  const where = nodeId === undefined ? `'${service}'` : `node ${nodeId} of '${service}'`;
  return `did not reach ${where}: ${error.message}`;
}
