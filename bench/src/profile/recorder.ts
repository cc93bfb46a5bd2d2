/** Records a CPU profile inside a program of the bench, from when it is asked to until it is asked for what it has. */
import { Session } from 'node:inspector/promises';
import type { Json } from '../program/protocol.js';
import { layerTimes } from './layers.js';

/** One recording at a time. */
export class Recorder {
  private session: Session | undefined;

  /** Begins; one sample each `intervalUs` microseconds. */
  async start(intervalUs: number): Promise<void> {
    const session = new Session();
    this.session = session;
    session.connect();
    await session.post('Profiler.enable');
    await session.post('Profiler.setSamplingInterval', { interval: intervalUs });
    await session.post('Profiler.start');
  }

  /** Ends; answers the time in each layer, in microseconds. Throws when nothing was recorded. */
  async stop(): Promise<Json> {
    const { session } = this;
    if (session === undefined) throw new Error('no profile is being recorded: ask to start one first');
    this.session = undefined;
    const { profile } = await session.post('Profiler.stop');
    session.disconnect();
    return layerTimes(profile);
  }
}
