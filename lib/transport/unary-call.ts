/** The callee's side of a call over plain HTTP/2: one value answers it, and the end of its stream ends it. */
import { constants, type ServerHttp2Stream } from 'node:http2';
import { JSON_CODEC } from '../protocol/codec.js';
import { exceeds, payloadBytes, type FramePayload } from '../protocol/frame.js';
import type { WireLimits } from '../protocol/limits.js';
import { MeshError } from '../protocol/mesh-error.js';
import type { Metadata, ResponsePacket } from '../protocol/packet.js';
import { cancelledByCaller, InboundCall, type ReplyCarrier } from './inbound-call.js';
import { resetStream } from './reset.js';
import { answer, answerError, errorBody, unaryFailureOf } from './unary-answer.js';

/** What the request says. */
export interface UnaryOpening {
  readonly route: string;
  readonly metadata: Metadata | undefined;
  /** The caller's budget in ms, counted from {@link UnaryCall}'s making. */
  readonly timeoutMs: number | undefined;
  /** `maxFrameBytes` is the largest answer; one that is not read for `incompleteFrameTimeoutMs` is given up. */
  readonly limits: Pick<WireLimits, 'maxFrameBytes' | 'incompleteFrameTimeoutMs'>;
}

/** The longest delay that a timer of Node takes. */
const MAX_TIMER_MS = 2 ** 31 - 1;
const READY = Promise.resolve();

/** One call. It ends with its answer, at its deadline, or when the caller leaves; the handler is cancelled in the last two. */
export class UnaryCall implements ReplyCarrier {
  /** Resolves once the stream is gone. */
  readonly whenClosed: Promise<void>;
  private call: InboundCall | undefined;
  /** The first value, until it is known to be the only one; without a payload it is `undefined`, which JSON cannot say. */
  private held: { readonly payload: FramePayload | undefined } | undefined;
  private readonly madeAt = performance.now();
  private timer: NodeJS.Timeout | undefined;
  /** True once the handler has given more than an answer may hold. */
  private oversized = false;

  constructor(
    private readonly stream: ServerHttp2Stream,
    private readonly opening: UnaryOpening,
  ) {
    const { timeoutMs } = opening;
    if (timeoutMs !== undefined)
      this.timer = setTimeout(this.onDeadline, Math.min(timeoutMs, MAX_TIMER_MS)).unref();
    this.whenClosed = new Promise((resolve) => {
      const onClose = (): void => {
        clearTimeout(this.timer);
        this.call?.cancel(cancelledByCaller());
        resolve();
      };
      if (stream.destroyed) onClose();
      else stream.once('close', onClose);
    });
  }

  /** Hands the call on, with its data. Not at all when the caller has left, or was answered at the deadline. */
  begin(data: unknown, dispatch: (call: InboundCall) => void): void {
    const { stream, opening } = this;
    if (stream.destroyed || stream.headersSent) return;
    const { route: pattern, metadata, timeoutMs } = opening;
    const timeout =
      timeoutMs === undefined ? undefined : Math.max(0, timeoutMs - (performance.now() - this.madeAt));
    this.call = new InboundCall({ id: 0, pattern, data, metadata, timeout }, this);
    dispatch(this.call);
  }

  isCongested(): boolean {
    return false;
  }

  ready(): Promise<void> {
    return READY;
  }

  reply(packet: ResponsePacket): void {
    const { stream, held } = this;
    if (packet.err !== undefined) {
      this.fail(packet.err, packet.errorId);
      return;
    }
    // The end of several values brings no response of its own, unlike the answer `undefined`.
    const last = packet.isDisposed === true;
    const isValue = !last || Object.hasOwn(packet, 'response');
    if (isValue && held !== undefined) {
      const error = severalValues(this.opening.route);
      answerError(stream, error);
      if (!last) this.call?.cancel(error);
      return;
    }
    const only = isValue ? { payload: this.encode(packet.response) } : held;
    if (!last) this.held = only;
    else if (only?.payload === undefined) answer(stream, 204);
    else answer(stream, 200, only.payload);
  }

  settle(): void {
    clearTimeout(this.timer);
    // A caller that does not read would keep its answer in memory for ever.
    this.stream.setTimeout(this.opening.limits.incompleteFrameTimeoutMs, () =>
      resetStream(this.stream, constants.NGHTTP2_CANCEL),
    );
  }

  private fail(err: unknown, errorId: string | undefined): void {
    const { status, error } = unaryFailureOf(err, errorId);
    const body = errorBody(error);
    this.checkSize(body);
    // 429 would tell the caller to try again later.
    answer(this.stream, this.oversized ? 500 : status, body);
  }

  private encode(value: unknown): FramePayload | undefined {
    if (value === undefined) return undefined;
    const payload = JSON_CODEC.encode(value);
    this.checkSize(payload);
    return payload;
  }

  /** What throws here comes back as the error of the call. */
  private checkSize(payload: FramePayload): void {
    const { maxFrameBytes } = this.opening.limits;
    if (!exceeds(payload, maxFrameBytes)) return;
    this.oversized = true;
    throw new MeshError(
      'RESOURCE_EXHAUSTED',
      `an answer of ${payloadBytes(payload)} bytes is over limits.maxFrameBytes (${maxFrameBytes})`,
      { delivery: 'not-sent' },
    );
  }

  private readonly onDeadline = (): void => {
    const error = new MeshError(
      'DEADLINE_EXCEEDED',
      `no answer within ${this.opening.timeoutMs} ms (x-mesh-timeout)`,
    );
    answerError(this.stream, error);
    this.call?.cancel(error);
  };
}

function severalValues(route: string): MeshError {
  return new MeshError(
    'UNIMPLEMENTED',
    `'${route}' answers with several values, which a plain answer cannot hold: use a call stream (POST /channel with x-mesh-pattern)`,
  );
}
