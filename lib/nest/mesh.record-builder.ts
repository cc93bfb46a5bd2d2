/** Data with options for this one call or event, as Nest's own record builders make them. */
import { MeshError } from '../protocol/mesh-error.js';
import type { EventAck, Metadata } from '../protocol/packet.js';
import { checkTimeoutMs } from '../node/resolve-options.js';
import { checkAck } from './call-options.js';

const BRAND = Symbol.for('nestjs-mesh.MeshRecord');

/** What a record sets for its call. */
export interface MeshRecordOptions {
  readonly metadata?: Metadata | undefined;
  readonly timeoutMs?: number | undefined;
  readonly key?: string | undefined;
  readonly nodeId?: string | undefined;
  readonly ack?: EventAck | undefined;
}

/** Made by {@link MeshRecordBuilder}; given to `send` or `emit` in the place of the data. */
export class MeshRecord<Data = unknown> {
  constructor(
    readonly data: Data,
    readonly options: MeshRecordOptions,
  ) {
    Object.defineProperty(this, BRAND, { value: true });
  }

  /** True for every record, also one made by another copy of this package. */
  static is(value: unknown): value is MeshRecord {
    return typeof value === 'object' && value !== null && (value as { [BRAND]?: unknown })[BRAND] === true;
  }
}

/** `new MeshRecordBuilder(data).setTimeout(500).setMetadata({ tenant: 'a' }).build()` */
export class MeshRecordBuilder<Data = unknown> {
  private metadata: Metadata | undefined;
  private timeoutMs: number | undefined;
  private key: string | undefined;
  private nodeId: string | undefined;
  private ack: EventAck | undefined;

  private data: Data;

  constructor(data: Data);
  /** Without data, which {@link setData} gives. */
  constructor(...none: undefined extends Data ? [] : never);
  constructor(data?: Data) {
    this.data = data as Data;
  }

  setData<Other>(data: Other): MeshRecordBuilder<Other> {
    const other = this as unknown as MeshRecordBuilder<Other>;
    other.data = data;
    return other;
  }

  /** Strings that travel beside the data. Throws when a value is no string. */
  setMetadata(metadata: Metadata): this {
    for (const [name, value] of Object.entries(metadata)) {
      if (typeof value !== 'string') {
        throw new MeshError('INVALID_ARGUMENT', `metadata.${name} must be a string, not ${typeof value}`, {
          delivery: 'not-sent',
        });
      }
    }
    this.metadata = { ...metadata };
    return this;
  }

  /** How long this call may wait for its answer (a stream: for its first value), in ms; 0 = for ever. */
  setTimeout(timeoutMs: number): this {
    this.timeoutMs = checkTimeoutMs(timeoutMs);
    return this;
  }

  /** Calls with the same key go to the same node for as long as it is there. */
  setKey(key: string): this {
    this.key = key;
    return this;
  }

  /** This node of the service and no other. */
  setNode(nodeId: string): this {
    this.nodeId = nodeId;
    return this;
  }

  /** What an event waits for: that it was given to its handlers, or that all of them have ended well. */
  setAck(ack: EventAck): this {
    this.ack = checkAck(ack);
    return this;
  }

  build(): MeshRecord<Data> {
    const { metadata, timeoutMs, key, nodeId, ack } = this;
    return new MeshRecord(this.data, { metadata, timeoutMs, key, nodeId, ack });
  }
}
