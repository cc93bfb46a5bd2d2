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
  /** Always there: without it an error of a handler that has a `code` of its own would look the same. */
  delivery: Delivery;
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
    return new MeshError(code, messageOf(value), { ...init, cause: value });
  }

  /** The same error with what was not yet known of its origin filled in. */
  at(origin: MeshErrorOrigin): MeshError {
    return this.copy({
      delivery: this.delivery,
      service: this.service ?? origin.service,
      nodeId: this.nodeId ?? origin.nodeId,
      pattern: this.pattern ?? origin.pattern,
    });
  }

  /** The same error with another delivery state. */
  withDelivery(delivery: Delivery): MeshError {
    if (delivery === this.delivery) return this;
    const { service, nodeId, pattern } = this;
    return this.copy({ delivery, service, nodeId, pattern });
  }

  /** The wire form; `service`, `nodeId` and `pattern` stay behind, since the caller knows them. */
  toWire(): MeshErrorWire {
    const { code, rawMessage: message, delivery } = this;
    const wire: MeshErrorWire = { status: 'error', code, message, delivery };
    if (this.details !== undefined) wire.details = this.details;
    return wire;
  }

  /**
   * JSON.stringify gives the wire form, so that a MeshError which a handler throws on keeps its meaning. Its delivery
   * becomes `unknown`: that a call made by the handler was not sent does not mean that the handler never ran.
   */
  toJSON(): MeshErrorWire {
    return { ...this.toWire(), delivery: 'unknown' };
  }

  /** Reads the wire form; `undefined` for anything that is not one, for example what a handler threw. */
  static fromWire(value: unknown, origin: MeshErrorOrigin = {}): MeshError | undefined {
    if (typeof value !== 'object' || value === null) return undefined;
    const { status, code, message, delivery, details } = value as Record<string, unknown>;
    if (status !== 'error' || !isMeshErrorCode(code) || typeof message !== 'string') return undefined;
    if (!isDelivery(delivery)) return undefined;
    return new MeshError(code, message, {
      ...origin,
      delivery,
      details: isRecord(details) ? details : undefined,
    });
  }

  /** A copy that still tells where the original was made. */
  private copy(init: MeshErrorInit): MeshError {
    const copy = new MeshError(this.code, this.rawMessage, {
      details: this.details,
      cause: this.cause,
      ...init,
    });
    if (this.stack !== undefined) copy.stack = this.stack;
    return copy;
  }
}

function isDelivery(value: unknown): value is Delivery {
  return DELIVERIES.has(value);
}

/** Anything can be thrown, also what cannot become a string. */
function messageOf(value: unknown): string {
  if (value instanceof Error) return value.message;
  try {
    return String(value);
  } catch {
    return `a thrown ${typeof value} that has no text`;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
