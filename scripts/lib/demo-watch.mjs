/** When the demo is over: everything was said, a peer has ended, nothing happens any more, or Ctrl-C. */
import { setTimeout as delay } from 'node:timers/promises';

/** From the start of both peers to their connection. */
const CONNECT_LIMIT_MS = 30_000;
/** The longest silence of the conversation, beside the pauses that were asked for. */
const SILENCE_LIMIT_MS = 15_000;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** @typedef {{ reason?: string, interrupted?: boolean }} Outcome `reason`: why it failed, if it did */

/** Every wait has its end: the first of several outcomes holds. */
export class DemoWatch {
  /** @type {Promise<Outcome>} */
  outcome;
  /** Ends the demo, unless it has ended already. @type {(outcome: Outcome) => void} */
  settle = () => undefined;
  #silenceLimitMs;
  #timer = new AbortController();

  /** @param {number} intervalMs the pause between two messages */
  constructor(intervalMs) {
    this.#silenceLimitMs = SILENCE_LIMIT_MS + 3 * intervalMs;
    this.outcome = new Promise((resolve) => (this.settle = resolve));
    // They stay: a second Ctrl-C must not keep the peers from ending in order.
    for (const signal of SIGNALS) process.on(signal, () => this.settle({ interrupted: true }));
    this.#expect(CONNECT_LIMIT_MS, 'the peers did not connect');
    void this.outcome.then(() => this.#timer.abort());
  }

  /** A line of the conversation was printed. */
  progress(begun, complete) {
    if (complete) this.settle({});
    else if (begun) this.#expect(this.#silenceLimitMs, 'no message arrived');
  }

  /** The next progress must come in time. */
  #expect(limitMs, fault) {
    this.#timer.abort();
    this.#timer = new AbortController();
    delay(limitMs, undefined, { signal: this.#timer.signal }).then(
      () => this.settle({ reason: `${fault} within ${limitMs / 1_000} s` }),
      () => undefined,
    );
  }
}
