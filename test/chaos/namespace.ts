/** A network namespace with one cable to this machine, which can be cut. It needs Linux, and the right to make it. */
import { execFileSync } from 'node:child_process';

/** Of this process, so that two runs do not meet. */
const NAME = `mesh-${process.pid}`;
const LINK = `mesh${process.pid % 100_000_000}`;
const SUBNET = `10.231.${process.pid % 256}`;

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: 'pipe' });
}

export const namespace = {
  /** This machine, as it is seen from inside. */
  outside: `${SUBNET}.1`,
  inside: `${SUBNET}.2`,
  /** Comes before a command that is to run inside. */
  prefix: ['ip', 'netns', 'exec', NAME],

  /** Makes it; gives why that cannot be done here. */
  make(): string | undefined {
    try {
      ip('netns', 'add', NAME);
    } catch (error) {
      return `this machine allows no network namespaces: ${String(error).split('\n').slice(0, 2).join(' ')}`;
    }
    process.once('exit', namespace.remove);
    ip('link', 'add', LINK, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', NAME);
    ip('addr', 'add', `${namespace.outside}/24`, 'dev', LINK);
    ip('link', 'set', LINK, 'up');
    ip('-n', NAME, 'addr', 'add', `${namespace.inside}/24`, 'dev', 'eth0');
    ip('-n', NAME, 'link', 'set', 'lo', 'up');
    namespace.heal();
    return undefined;
  },

  /** Nothing passes any more, and nobody is told. */
  cut(): void {
    ip('-n', NAME, 'link', 'set', 'eth0', 'down');
  },

  heal(): void {
    ip('-n', NAME, 'link', 'set', 'eth0', 'up');
  },

  /** The cable goes with it. */
  remove(): void {
    process.off('exit', namespace.remove);
    ip('netns', 'del', NAME);
  },
};
