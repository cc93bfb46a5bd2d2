/** A service that a test makes up: real on the wire, its handlers plain functions, and it remembers what it was asked. */
import type { RpcExceptionFilter } from '@nestjs/common';
import { ExecutionContextHost } from '@nestjs/core/helpers/execution-context-host.js';
import { BaseRpcExceptionFilter } from '@nestjs/microservices';
import { catchError, isObservable, type Observable } from 'rxjs';
import type { MeshChannel } from '../nest/mesh.channel.js';
import type { MeshContext } from '../nest/mesh.context.js';
import { MeshServer } from '../nest/mesh.server.js';
import type { MeshNode } from '../node/mesh-node.js';
import { MeshError } from '../protocol/mesh-error.js';
import type { Metadata } from '../protocol/packet.js';

/**
 * Answers a call, as the method of a controller: with a value, a Promise, an Observable, an AsyncIterable or a generator. What
 * it throws reaches the caller as from a controller: the payload of an `RpcException`, "Internal server error" for the rest.
 */
export type FakeHandler = Bivariant<unknown>;

/** Takes a raw channel, as a method with `@ChannelPattern`. */
// oxlint-disable-next-line typescript/no-explicit-any -- a test says what the channel carries: `(channel: MeshChannel<In, Out>) => …`
export type FakeChannelHandler = Bivariant<MeshChannel<any, any>>;

/** So that `(id: string) => …` fits: a test says what it will be sent. */
type Bivariant<Data> = { handle(data: Data, context: MeshContext): unknown }['handle'];

/** The handlers of calls by their patterns, as `@MessagePattern`; an object pattern by its JSON. */
export type FakeCalls = Readonly<Record<string, FakeHandler>>;

/** What else a fake service can have. */
export interface FakeParts {
  /** As `@EventPattern`, wildcards too: `{ '>': () => {} }` takes every event. */
  readonly events?: Readonly<Record<string, FakeHandler>> | undefined;
  /** As `@ChannelPattern`; `''` is the default channel. */
  readonly channels?: Readonly<Record<string, FakeChannelHandler>> | undefined;
  /** What becomes of what handlers throw, for example a `MeshExceptionFilter`. @default Nest's own filter */
  readonly filter?: RpcExceptionFilter | undefined;
}

/** Something that a fake service was sent. */
export interface Received {
  readonly kind: 'call' | 'event' | 'channel';
  /** What the caller asked for; of a channel, its name. */
  readonly pattern: string;
  /** The payload. A stream of input is the AsyncIterable that the handler reads, a channel the `MeshChannel`. */
  readonly data: unknown;
  readonly metadata: Metadata | undefined;
  /** The service that sent it. */
  readonly from: string;
}

interface Waiter {
  readonly pattern: string;
  readonly count: number;
  readonly resolve: (received: Received[]) => void;
}

export class FakeService {
  /** Everything that its handlers were given, in order. */
  readonly received: Received[] = [];
  private readonly waiters = new Set<Waiter>();
  private readonly server: MeshServer;
  private readonly filter: RpcExceptionFilter;

  /** Made by `TestMesh.service`. */
  constructor(
    /** Its name in the test mesh, for faults: its service and a number. */
    readonly name: string,
    readonly node: MeshNode,
    calls: FakeCalls,
    { events = {}, channels = {}, filter = new BaseRpcExceptionFilter() }: FakeParts,
  ) {
    this.filter = filter;
    this.server = new MeshServer(node);
    for (const [pattern, handler] of Object.entries(calls))
      this.server.addHandler(pattern, this.recorded('call', handler));
    for (const [pattern, handler] of Object.entries(events))
      this.server.addHandler(pattern, this.recorded('event', handler), true);
    for (const [channel, handler] of Object.entries(channels)) {
      const meshChannel = { name: channel === '' ? undefined : channel };
      this.server.addHandler({ meshChannel: channel }, this.recorded('channel', handler), false, {
        meshChannel,
      });
    }
  }

  /** Listens and is announced. `TestMesh.service` has called it. */
  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.server.listen((error) => {
        if (error === undefined) resolve();
        else reject(MeshError.from(error));
      });
    });
  }

  /** What was received for one pattern. */
  receivedOf(pattern: string): Received[] {
    return this.received.filter((one) => one.pattern === pattern);
  }

  /**
   * Resolves with the first `count` that were received for a pattern, those of before included. Rejects with what came in
   * their place after `timeoutMs`.
   */
  waitFor(pattern: string, count = 1, timeoutMs = 5_000): Promise<Received[]> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiters.delete(waiter);
        const got = this.received.map((one) => one.pattern).join(', ') || 'nothing';
        reject(
          new Error(
            `${this.name} did not receive '${pattern}' ${count} time(s) within ${timeoutMs} ms; it received: ${got}`,
          ),
        );
      }, timeoutMs);
      const waiter: Waiter = {
        pattern,
        count,
        resolve: (received) => {
          clearTimeout(timer);
          resolve(received);
        },
      };
      this.waiters.add(waiter);
      this.serve(waiter);
    });
  }

  /** Forgets what was received. */
  clear(): void {
    this.received.length = 0;
  }

  /** Leaves the mesh in order, as at a shutdown. */
  async close(): Promise<void> {
    await this.node.close();
  }

  private recorded(kind: Received['kind'], handler: FakeHandler) {
    return async (data: unknown, context: MeshContext): Promise<unknown> => {
      this.received.push({
        kind,
        pattern: context.getPattern(),
        data,
        metadata: context.getMetadata(),
        from: context.peer.service,
      });
      for (const waiter of this.waiters) this.serve(waiter);
      const filtered = (error: unknown): Observable<unknown> => {
        const host = new ExecutionContextHost([data, context]);
        host.setType('rpc');
        return this.filter.catch(error, host);
      };
      try {
        const result = await handler(data, context);
        return isObservable(result) ? result.pipe(catchError(filtered)) : result;
      } catch (error) {
        return filtered(error);
      }
    };
  }

  private serve(waiter: Waiter): void {
    const received = this.receivedOf(waiter.pattern);
    if (received.length < waiter.count) return;
    this.waiters.delete(waiter);
    waiter.resolve(received.slice(0, waiter.count));
  }
}
