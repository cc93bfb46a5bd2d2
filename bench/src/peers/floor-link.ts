/** Length-prefixed JSON over any byte stream, and nothing more: what the floors have in common. */
import { once } from 'node:events';
import type { Duplex } from 'node:stream';

const PREFIX_BYTES = 4;
/** Past this many bytes on their way a sender waits. */
const CONGESTED_BYTES = 1024 * 1024;
/** Texts shorter than this take at most three bytes a character, which is cheaper to reserve than to count. */
const SMALL_CHARACTERS = 4_096;

/** Frames over a duplex stream: those of one turn leave in one write. */
export class FloorLink {
  private queue: string[] = [];
  private scheduled = false;
  private ending = false;
  private rest: Buffer[] = [];
  private restBytes = 0;
  /** Bytes of the frame that is coming, prefix and all; 0 while the prefix is not there. */
  private wantedBytes = 0;

  constructor(
    readonly stream: Duplex,
    private readonly take: (value: unknown) => void,
  ) {
    stream.on('data', (chunk: Buffer) => this.read(chunk));
    stream.on('error', () => undefined);
  }

  send(value: unknown): void {
    this.queue.push(JSON.stringify(value));
    this.schedule();
  }

  /** True while a polite sender waits for {@link drained}. */
  get congested(): boolean {
    return this.stream.writableLength > CONGESTED_BYTES;
  }

  async drained(): Promise<void> {
    await once(this.stream, 'drain');
  }

  /** Sends `count` values made by `make`, at the pace of the peer, and ends this half. */
  async sendAll(count: number, make: (n: number) => unknown): Promise<void> {
    for (let n = 0; n < count; n += 1) {
      this.send(make(n));
      // Sixteen thousand small values make about the size that is held back; a turn of the event loop lets them leave.
      if (n % 1_024 === 1_023) await turn();
      if (this.congested) await this.drained();
    }
    this.end();
  }

  end(): void {
    this.ending = true;
    this.schedule();
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    process.nextTick(this.flush);
  }

  private readonly flush = (): void => {
    this.scheduled = false;
    const batch = this.queue;
    this.queue = [];
    if (batch.length > 0) this.stream.write(encoded(batch));
    if (this.ending) this.stream.end();
  };

  private read(chunk: Buffer): void {
    if (this.restBytes > 0) {
      this.rest.push(chunk);
      this.restBytes += chunk.length;
      if (this.restBytes < Math.max(this.wantedBytes, PREFIX_BYTES)) return;
      chunk = Buffer.concat(this.rest);
      this.rest = [];
      this.restBytes = 0;
    }
    let at = 0;
    this.wantedBytes = 0;
    while (chunk.length - at >= PREFIX_BYTES) {
      const end = at + PREFIX_BYTES + chunk.readUInt32BE(at);
      if (end > chunk.length) {
        this.wantedBytes = end - at;
        break;
      }
      this.take(JSON.parse(chunk.toString('utf8', at + PREFIX_BYTES, end)));
      at = end;
    }
    if (at < chunk.length) {
      this.rest = [at === 0 ? chunk : chunk.subarray(at)];
      this.restBytes = chunk.length - at;
    }
  }
}

function encoded(batch: readonly string[]): Buffer {
  let bytes = 0;
  for (const text of batch) bytes += PREFIX_BYTES + room(text);
  const buffer = Buffer.allocUnsafe(bytes);
  let at = 0;
  for (const text of batch) {
    const length = buffer.write(text, at + PREFIX_BYTES, 'utf8');
    buffer.writeUInt32BE(length, at);
    at += PREFIX_BYTES + length;
  }
  return buffer.subarray(0, at);
}

function room(text: string): number {
  return text.length < SMALL_CHARACTERS ? text.length * 3 : Buffer.byteLength(text);
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
