/** What a node holds, so that a test can say that a call has left nothing behind: entries, objects, listeners, timers. */
import { createHook } from 'node:async_hooks';
import { getEventListeners, type EventEmitter } from 'node:events';

/** Counts by what is counted. */
export type Counts = Readonly<Record<string, number>>;

/** Not part of what calls can leave behind, or the same for all nodes of the process. */
const PASSED_BY = new Set(['options', 'registry', 'logger', 'deps']);

/**
 * Everything that can be reached from `root`: the entries of each Map, Set and array, the objects of each class, and the
 * listeners on what others have made. Nothing in it belongs to a public interface: tests alone may look this way.
 */
export function heldBy(root: object): Counts {
  const counts: Record<string, number> = {};
  const seen = new Set<unknown>();
  const count = (what: string, by = 1): void => {
    if (by > 0) counts[what] = (counts[what] ?? 0) + by;
  };
  const walk = (value: unknown, path: string): void => {
    if (typeof value !== 'object' || value === null || seen.has(value)) return;
    seen.add(value);
    const name = (Object.getPrototypeOf(value) as object | null)?.constructor.name ?? 'Object';
    if (ArrayBuffer.isView(value) || name === 'Promise' || name === 'Timeout') return;
    if (name === 'AbortSignal') {
      count(`${path} listeners`, getEventListeners(value as AbortSignal, 'abort').length);
      return;
    }
    if (typeof (value as EventEmitter).eventNames === 'function') {
      const emitter = value as EventEmitter;
      for (const event of emitter.eventNames())
        count(`${name} listeners to ${String(event)}`, emitter.listenerCount(event));
      return;
    }
    if (Array.isArray(value) || name === 'Set') {
      const items = [...(value as Iterable<unknown>)];
      count(path, items.length);
      for (const item of items) walk(item, `${path}[]`);
    } else if (name === 'Map') {
      const map = value as Map<unknown, unknown>;
      count(path, map.size);
      for (const [key, item] of map) {
        walk(key, `${path} key`);
        walk(item, `${path}[]`);
      }
    } else {
      if (name !== 'Object') count(name);
      for (const [key, item] of Object.entries(value)) if (!PASSED_BY.has(key)) walk(item, `${name}.${key}`);
    }
  };
  walk(root, 'root');
  return counts;
}

/** A timer as Node keeps it; `_destroyed` holds once it has fired or was cleared. */
interface NodeTimer {
  readonly _destroyed: boolean;
  readonly _idleTimeout: number;
}

/** The file of `lib/` that has made a timer, whoever has called it. */
const MAKER = /\/lib\/([\w./-]+)\.[jt]s/;

/** The registry has a life of its own beside the calls, with timers that come and go. */
const REGISTRY = /^registry\//;

/** Node's own clock for the `date` of answers: one for the whole process, set by whoever answers first in a second. */
const DATE_CLOCK = /\bnode:internal\/http:/;

function makerIn(stack: string): string | undefined {
  const maker = MAKER.exec(stack)?.[1];
  return maker === undefined || REGISTRY.test(maker) || DATE_CLOCK.test(stack) ? undefined : maker;
}

/** Watches every timer that `lib/` makes for calls and connections from now on, also those that do not hold the process. */
export class TimerWatch {
  private readonly made = new Map<NodeTimer, string>();
  private readonly hook = createHook({
    init: (_id, type, _trigger, resource) => {
      if (type !== 'Timeout') return;
      const maker = makerIn(new Error('who makes it').stack ?? '');
      if (maker !== undefined) this.made.set(resource as NodeTimer, maker);
    },
  }).enable();

  /** How many of them are waiting, by the files that have made them. */
  waiting(): Counts {
    const counts: Record<string, number> = {};
    for (const [timer, maker] of this.made) {
      if (timer._destroyed || timer._idleTimeout < 0) this.made.delete(timer);
      else counts[maker] = (counts[maker] ?? 0) + 1;
    }
    return counts;
  }

  close(): void {
    this.hook.disable();
    this.made.clear();
  }
}
