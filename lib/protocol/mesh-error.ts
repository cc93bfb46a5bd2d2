/** What the transport itself reports: a code, the delivery state and where it happened. */
import { isMeshErrorCode, type MeshErrorCode } from './error-code.js';

/**
 * Whether the call may have reached its handler:
 * `not-sent` (never left this node), `refused` (the peer said that it did not start it), `unknown` (it may have run).
 */
export type Delivery = 'not-sent' | 'refused' | 'unknown';

/** Where a call was going when it failed; all of it optional, since a fault can come before a node is chosen. */
export interface MeshErrorOrigin {
  /** The service that was called. */
  service?: string | undefined;
  /** The id of the node that was called. */
  nodeId?: string | undefined;
  /** The route of the pattern that was called. */
  pattern?: string | undefined;
}

/** Everything a {@link MeshError} carries beside its code and message. */
export interface MeshErrorInit extends MeshErrorOrigin {
  /** @default 'unknown' */
  delivery?: Delivery | undefined;
  /** Free-form facts that help the reader of the error; must be JSON. */
  details?: Readonly<Record<string, unknown>> | undefined;
  cause?: unknown;
}

/** The JSON shape of a {@link MeshError} on the wire: the `err` of a response packet, or `mesh-error` in trailers. */
export interface MeshErrorWire {
  /** Always `'error'`: the field by which Nest's own transports mark an error. */
  status: 'error';
  code: MeshErrorCode;
  message: string;
  delivery?: Delivery;
  details?: Readonly<Record<string, unknown>>;
}

const BRAND = Symbol.for('nestjs-mesh.MeshError');
const DELIVERIES: ReadonlySet<unknown> = new Set<Delivery>(['not-sent', 'refused', 'unknown']);

/**
 * An error that the transport reports, as opposed to one that a handler threw.
 *
 * `message` starts with the code, so that a log line alone tells what happened.
 * Recognise it by {@link MeshError.is}, which also holds across two copies of this package.
 */
export class MeshError extends Error {
  override readonly name = 'MeshError';
  readonly code: MeshErrorCode;
  readonly delivery: Delivery;
  readonly details: Readonly<Record<string, unknown>> | undefined;
  readonly service: string | undefined;
  readonly nodeId: string | undefined;
  readonly pattern: string | undefined;
  /** The message without the code in front. */
  readonly rawMessage: string;

  constructor(code: MeshErrorCode, message: string, init: MeshErrorInit = {}) {
    super(`[${code}] ${message}`, init.cause === undefined ? undefined : { cause: init.cause });
    this.code = code;
    this.rawMessage = message;
    this.delivery = init.delivery ?? 'unknown';
    this.details = init.details;
    this.service = init.service;
    this.nodeId = init.nodeId;
    this.pattern = init.pattern;
    Object.defineProperty(this, BRAND, { value: true });
  }

  /** True for every MeshError, also one made by another copy of this package. */
  static is(value: unknown): value is MeshError {
    return typeof value === 'object' && value !== null && (value as { [BRAND]?: unknown })[BRAND] === true;
  }

  /** Any thrown value as a MeshError: itself when it is one, else wrapped as the cause of one with `code`. */
  static from(value: unknown, code: MeshErrorCode = 'UNKNOWN', init: MeshErrorInit = {}): MeshError {
    if (MeshError.is(value)) return value;
    const message = value instanceof Error ? value.message : String(value);
    return new MeshError(code, message, { ...init, cause: value });
  }

  /** The same error with what was not yet known of its origin filled in. */
  at(origin: MeshErrorOrigin): MeshError {
    const copy = new MeshError(this.code, this.rawMessage, {
      delivery: this.delivery,
      details: this.details,
      cause: this.cause,
      service: this.service ?? origin.service,
      nodeId: this.nodeId ?? origin.nodeId,
      pattern: this.pattern ?? origin.pattern,
    });
    if (this.stack !== undefined) copy.stack = this.stack;
    return copy;
  }

  /** The same error with another delivery state. */
  withDelivery(delivery: Delivery): MeshError {
    if (delivery === this.delivery) return this;
    const { code, rawMessage, details, cause, service, nodeId, pattern } = this;
    return new MeshError(code, rawMessage, { delivery, details, cause, service, nodeId, pattern });
  }

  /** The wire form; `service`, `nodeId` and `pattern` stay behind, since the caller knows them. */
  toWire(): MeshErrorWire {
    const wire: MeshErrorWire = { status: 'error', code: this.code, message: this.rawMessage };
    if (this.delivery !== 'unknown') wire.delivery = this.delivery;
    if (this.details !== undefined) wire.details = this.details;
    return wire;
  }

  /** JSON.stringify gives the wire form, so that a MeshError which a handler throws on keeps its meaning. */
  toJSON(): MeshErrorWire {
    return this.toWire();
  }

  /** Reads the wire form; `undefined` for anything that is not one (for example what a handler threw). */
  static fromWire(value: unknown, origin: MeshErrorOrigin = {}): MeshError | undefined {
    if (typeof value !== 'object' || value === null) return undefined;
    const { status, code, message, delivery, details } = value as Record<string, unknown>;
    if (status !== 'error' || !isMeshErrorCode(code) || typeof message !== 'string') return undefined;
    return new MeshError(code, message, {
      ...origin,
      delivery: DELIVERIES.has(delivery) ? (delivery as Delivery) : 'unknown',
      details: isRecord(details) ? details : undefined,
    });
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
