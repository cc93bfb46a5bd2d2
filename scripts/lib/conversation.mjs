/** What the two peers of the walkthrough said to each other, counted and checked from the lines that they print. */

const MESSAGE = /^(Sent|Received): Message from (Node|Python) #(\d+)$/;
const BEGIN = { node: "Connected to 'python-peer'!", python: 'Accepted connection from Node.' };
const OTHER = { node: 'Python', python: 'Node' };

/** @typedef {'node' | 'python'} Side */

/** Counts what was sent and received; a message that is missing, doubled or out of order is a fault. */
export class Conversation {
  /** What was wrong, in words. @type {string[]} */
  faults = [];
  /** When the last message was received, and when Node had connected; in milliseconds of `clock`. */
  #last = 0;
  #begin;
  #clock;
  #sides = { node: newSide(), python: newSide() };

  /** @param {() => number} [clock] in milliseconds */
  constructor(clock = () => performance.now()) {
    this.#clock = clock;
  }

  /** True once both sides have said that they are connected. */
  get begun() {
    return this.#sides.node.begun && this.#sides.python.begun;
  }

  /**
   * True when both sides have sent and received so many messages.
   *
   * @param {number} count
   */
  isComplete(count) {
    const { node, python } = this.#sides;
    return [node.sent, node.received, python.sent, python.received].every((total) => total >= count);
  }

  /**
   * Takes one line of output. True when it was part of the conversation.
   *
   * @param {Side} who
   * @param {string} line
   */
  take(who, line) {
    const side = this.#sides[who];
    if (line === BEGIN[who]) {
      // After a lost connection both sides begin again with message #0.
      Object.assign(side, { begun: true, nextSent: 0, nextReceived: 0 });
      this.#begin ??= this.#clock();
      return true;
    }
    const [, verb, from, digits] = MESSAGE.exec(line) ?? [];
    if (verb === undefined) return false;
    const isSent = verb === 'Sent';
    const expected = isSent ? side.nextSent : side.nextReceived;
    if (!side.begun) this.faults.push(`${who} printed "${line}" before "${BEGIN[who]}"`);
    else if ((from === OTHER[who]) === isSent)
      this.faults.push(`${who} printed "${line}", the other one's line`);
    else if (Number(digits) !== expected)
      this.faults.push(`${who} printed "${line}" instead of #${expected}`);
    if (isSent) {
      side.sent += 1;
      side.nextSent = Number(digits) + 1;
    } else {
      side.received += 1;
      side.nextReceived = Number(digits) + 1;
      this.#last = this.#clock();
    }
    return true;
  }

  /**
   * What is missing from a conversation of `count` messages each way; empty when it is whole.
   *
   * @param {number} count
   * @returns {string[]}
   */
  faultsFor(count) {
    const { node, python } = this.#sides;
    const wrong = Object.entries({
      'Node sent': node.sent,
      'Python received': python.received,
      'Python sent': python.sent,
      'Node received': node.received,
    }).filter(([, total]) => total !== count);
    return [...this.faults, ...wrong.map(([what, total]) => `${what} ${total} of ${count} messages`)];
  }

  /** The result in a few lines. */
  summary() {
    const { node, python } = this.#sides;
    const received = node.received + python.received;
    const seconds = Math.max(0, this.#last - (this.#begin ?? this.#last)) / 1_000;
    const rate = seconds > 0 ? `, ${Math.round(received / seconds)} per second` : '';
    return [
      `Node to Python: ${node.sent} sent, ${python.received} received`,
      `Python to Node: ${python.sent} sent, ${node.received} received`,
      `${received} messages in ${seconds.toFixed(2)} s${rate}`,
    ].join('\n');
  }
}

function newSide() {
  return { begun: false, sent: 0, received: 0, nextSent: 0, nextReceived: 0 };
}
