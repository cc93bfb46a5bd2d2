/** Jest's Node environment, which also fails a test file that leaves servers, sockets, timers or programs running. */
import { setTimeout as delay } from 'node:timers/promises';
import { TestEnvironment } from 'jest-environment-node';

/** How long closing may take after the last `afterAll`, in milliseconds. */
const GRACE_MS = 2_000;

// What keeps a process alive; what Jest itself holds (pipes, message ports, file requests) is not among it.
const KINDS = new Set([
  'FSEvent',
  'HTTP2SESSION',
  'PipeServerWrap',
  'ProcessWrap',
  'StatWatcher',
  'TCPServerWrap',
  'TCPSocketWrap',
  'Timeout',
  'TLSWrap',
  'UDPWrap',
  'Worker',
]);

function open() {
  return process.getActiveResourcesInfo().filter((kind) => KINDS.has(kind));
}

/** What is in `now` beyond `before`, each as often as it is there more. */
function beyond(before, now) {
  const rest = [...before];
  return now.filter((kind) => {
    const at = rest.indexOf(kind);
    if (at >= 0) rest.splice(at, 1);
    return at < 0;
  });
}

export default class LeakEnvironment extends TestEnvironment {
  #before = [];

  async setup() {
    await super.setup();
    this.#before = open();
  }

  async handleTestEvent(event) {
    if (event.name !== 'run_finish') return;
    let left = beyond(this.#before, open());
    // The timer of this loop is itself a Timeout while it waits, but not when it looks.
    for (const until = performance.now() + GRACE_MS; left.length > 0 && performance.now() < until;) {
      await delay(50);
      left = beyond(this.#before, open());
    }
    if (left.length > 0) {
      throw new Error(
        `The tests of this file are over, but they left open: ${left.join(', ')}. ` +
          'Close it in afterEach or afterAll; "--detectOpenHandles" shows where it was opened.',
      );
    }
  }
}
