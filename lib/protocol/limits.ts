/** The limits of the wire, checked on the declared length before anything is allocated. */

/** Bounds on what one peer can make this node hold. All sizes are bytes, counted as on the wire. */
export interface WireLimits {
  /**
   * Largest payload of one frame, in either direction. Raising it lets one message take more memory; lowering it
   * refuses messages sooner. A larger message fails that one call with `RESOURCE_EXHAUSTED`; the channel lives on.
   * @default 4_194_304 (4 MiB)
   */
  readonly maxFrameBytes: number;
  /** How many calls a peer may have open on one channel; more are refused with `RESOURCE_EXHAUSTED`. @default 65_536 */
  readonly maxOpenCalls: number;
  /** How many streams a peer may have open in one session. @default 1_024 */
  readonly maxChannels: number;
  /** How many sessions the listener holds; further ones are closed at once. @default 10_000 */
  readonly maxSessions: number;
  /** Largest header block of a stream. @default 65_536 */
  readonly maxHeaderBytes: number;
  /**
   * How many bytes may wait in one channel for a peer that does not read. Past it calls fail with
   * `RESOURCE_EXHAUSTED` (`not-sent`), streams of answers pause, and `MeshChannel.send()` waits. @default 67_108_864 (64 MiB)
   */
  readonly maxPendingBytes: number;
  /** How long a frame that has begun may stand still before its channel is reset, in ms; 0 = for ever. @default 30_000 */
  readonly incompleteFrameTimeoutMs: number;
}

export const DEFAULT_WIRE_LIMITS: WireLimits = {
  maxFrameBytes: 4 * 1024 * 1024,
  maxOpenCalls: 65_536,
  maxChannels: 1_024,
  maxSessions: 10_000,
  maxHeaderBytes: 65_536,
  maxPendingBytes: 64 * 1024 * 1024,
  incompleteFrameTimeoutMs: 30_000,
};

/** A declared length past this many times `maxFrameBytes` is not a large message but a peer that speaks something else. */
export const UNTRUSTED_LENGTH_FACTOR = 16;
