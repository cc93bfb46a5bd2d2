/** Calls and events over plain HTTP/2, and the two questions of a supervisor: is the node alive, and is it ready. */
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { JSON_CODEC } from '../protocol/codec.js';
import { MeshError } from '../protocol/mesh-error.js';
import type { InboundEvent, Origin } from '../transport/packet-channel.js';
import { answer, answerError } from '../transport/unary-answer.js';
import { readBody } from '../transport/unary-body.js';
import { UnaryCall } from '../transport/unary-call.js';
import { budgetOf, checkMethod, routeOf, type UnaryPath } from '../transport/unary-path.js';
import type { NodeHandlers } from './handlers.js';
import type { ResolvedOptions } from './mesh-options.js';
import { readHeaderMetadata } from './opening.js';
import { answersNoCalls, tooLate } from './refusals.js';

/** What the requests need of their node. */
export interface UnaryDeps {
  readonly options: ResolvedOptions;
  handlers(): NodeHandlers | undefined;
  /** Takes an event, for which there are handlers. */
  onEvent(event: InboundEvent, origin: Origin): void;
  /** True once nothing new is taken. */
  draining(): boolean;
  /** True while the registry lists the node. */
  announced(): boolean;
}

/** One request, with what its headers say of the caller. */
export interface UnaryRequest {
  readonly stream: ServerHttp2Stream;
  readonly headers: IncomingHttpHeaders;
  readonly origin: Origin;
}

export class UnaryRequests {
  constructor(
    private readonly deps: UnaryDeps,
    /** Told of each call, which lasts until `whenClosed`. */
    private readonly onCall: (call: UnaryCall, origin: Origin) => void,
  ) {}

  /** Takes the request, or answers why not. Never throws. */
  accept(path: UnaryPath, request: UnaryRequest): void {
    const { stream } = request;
    this.serve(path, request).catch((error: unknown) =>
      answerError(stream, MeshError.from(error, 'INTERNAL')),
    );
  }

  private async serve(path: UnaryPath, request: UnaryRequest): Promise<void> {
    this.refuseWhenOff(path);
    checkMethod(path, request.headers);
    if (path.kind === 'health') answer(request.stream, 200, JSON.stringify({ status: 'live' }));
    else if (path.kind === 'ready') this.answerReady(request.stream);
    else {
      if (this.deps.draining())
        throw new MeshError('UNAVAILABLE', 'this node is shutting down', { delivery: 'refused' });
      const route = routeOf(path.name, request.headers);
      await (path.kind === 'rpc' ? this.call(route, request) : this.event(route, request));
    }
  }

  private async call(route: string, { stream, headers, origin }: UnaryRequest): Promise<void> {
    const { options } = this.deps;
    const timeoutMs = budgetOf(headers);
    if (timeoutMs === 0) {
      answerError(stream, tooLate());
      return;
    }
    const call = new UnaryCall(stream, {
      route,
      metadata: readHeaderMetadata(headers),
      timeoutMs,
      limits: options.limits,
    });
    this.onCall(call, origin);
    const data = await this.dataOf(stream, headers);
    const handlers = this.deps.handlers();
    call.begin(data, (inbound) => {
      if (handlers === undefined) inbound.fail(answersNoCalls(options.service));
      else handlers.onRequest(inbound, origin);
    });
  }

  private async event(pattern: string, { stream, headers, origin }: UnaryRequest): Promise<void> {
    const data = await this.dataOf(stream, headers);
    if (this.deps.handlers() === undefined) {
      answerError(stream, answersNoCalls(this.deps.options.service));
      return;
    }
    answer(stream, 202);
    this.deps.onEvent({ pattern, data, metadata: readHeaderMetadata(headers) }, origin);
  }

  /** Without a body there is no data, as in a packet without it. */
  private async dataOf(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<unknown> {
    const body = await readBody(stream, headers, this.deps.options.limits);
    return body.length === 0 ? undefined : JSON_CODEC.decode(body);
  }

  private answerReady(stream: ServerHttp2Stream): void {
    const reasons: string[] = [];
    if (this.deps.draining()) reasons.push('shutting down');
    else if (!this.deps.announced()) reasons.push('not announced in the registry yet');
    if (reasons.length === 0) answer(stream, 200, JSON.stringify({ status: 'ready' }));
    else answer(stream, 503, JSON.stringify({ status: 'not ready', reasons }));
  }

  private refuseWhenOff({ kind }: UnaryPath): void {
    const option = kind === 'rpc' || kind === 'events' ? 'rpc' : 'health';
    if (this.deps.options.http[option]) return;
    throw new MeshError('NOT_FOUND', `/${kind} is switched off at this node (option http.${option})`, {
      delivery: 'refused',
    });
  }
}
