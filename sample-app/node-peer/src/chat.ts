/** The conversation with the Python peer: one raw channel, on which both sides send whenever they like. */
import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { InjectMeshClient, type MeshChannel, MeshClientProxy } from 'nestjs-mesh';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { readSettings } from './settings.js';

/** What both sides send. */
interface Message {
  readonly text: string;
}

/** How long to look for the peer before saying that it is still awaited, in ms. */
const PATIENCE_MS = 5_000;
/** Pause before connecting again, so that a peer which refuses is not asked without end, in ms. */
const PAUSE_MS = 500;

@Injectable()
export class Chat implements OnModuleDestroy {
  private readonly settings = readSettings();
  private readonly stopping = new AbortController();
  private channel: MeshChannel<unknown, Message> | undefined;

  constructor(@InjectMeshClient('python-peer') private readonly python: MeshClientProxy) {}

  /** True while the conversation goes on. */
  get connected(): boolean {
    return this.channel !== undefined;
  }

  /** Begins the conversation, and begins it anew whenever the peer has been away. */
  start(): void {
    void this.talkForever(this.stopping.signal);
  }

  onModuleDestroy(): void {
    this.stopping.abort();
    this.channel?.close();
  }

  private async talkForever(stopping: AbortSignal): Promise<void> {
    while (!stopping.aborted) {
      try {
        if (await this.talk()) return;
        if (!stopping.aborted) console.log("Waiting for 'python-peer': it has left the conversation");
      } catch (error) {
        if (stopping.aborted) return;
        console.log(`Waiting for 'python-peer': ${error instanceof Error ? error.message : String(error)}`);
      }
      await setTimeout(PAUSE_MS, undefined, { signal: stopping }).catch(() => undefined);
    }
  }

  /** One conversation; true when everything was said. Rejects when the peer cannot be reached or is lost. */
  private async talk(): Promise<boolean> {
    const channel = await this.python.with({ timeoutMs: PATIENCE_MS }).channel<unknown, Message>();
    this.channel = channel;
    try {
      console.log("Connected to 'python-peer'!");
      const [saidAll] = await Promise.all([this.send(channel), this.receive(channel)]);
      const error = await channel.whenClosed;
      if (error !== undefined) throw error;
      return saidAll;
    } finally {
      this.channel = undefined;
    }
  }

  /** Sends until everything was said (true), or until the channel is closed. */
  private async send(channel: MeshChannel<unknown, Message>): Promise<boolean> {
    const { messages, intervalMs } = this.settings;
    const over = new AbortController();
    void channel.whenClosed.then(() => over.abort());
    for (let n = 0; n < messages; n += 1) {
      if (over.signal.aborted) return false;
      const text = `Message from Node #${n}`;
      // Resolves when the peer has room for more: a slow reader slows this loop down.
      await channel.send({ text });
      console.log(`Sent: ${text}`);
      if (intervalMs === 0) await setImmediate();
      else await setTimeout(intervalMs, undefined, { signal: over.signal }).catch(() => undefined);
    }
    channel.end();
    return true;
  }

  private async receive(channel: MeshChannel<unknown, Message>): Promise<void> {
    for await (const message of channel) {
      const text = (message as Partial<Message> | null)?.text;
      console.log(`Received: ${typeof text === 'string' ? text : JSON.stringify(message)}`);
    }
  }
}
