/**
 * Reads MessagePack (github.com/msgpack/msgpack, spec.md), strictly: nothing that a peer declares is believed before the bytes
 * for it are there, so that a payload takes no more memory than its values need, and nesting is bounded.
 */
import { isUtf8 } from 'node:buffer';
import { MeshError } from './mesh-error.js';

/** How many containers may lie in each other; the packer of Python's `msgpack` stops at 511. */
export const MAX_MSGPACK_DEPTH = 512;

const REPLACEMENT = '\ufffd';
const MAX_SHORT_TEXT = 24;
const MAX_ITEMS_AT_ONCE = 1_024;
const TIMESTAMP = 0xff;
/** As which several libraries for JavaScript write `undefined`. */
const UNDEFINED = 0;

/** One payload. Every method throws a `MeshError` (`INVALID_ARGUMENT`) where the bytes are not what it reads. */
export class MsgpackReader {
  private at = 0;

  constructor(private readonly bytes: Buffer) {}

  /** The one value that the payload is. */
  only(): unknown {
    const value = this.value();
    if (this.at < this.bytes.length)
      throw this.fault(`${this.bytes.length - this.at} bytes follow the value`);
    return value;
  }

  /** The next value, which lies in `depth` containers. */
  value(depth = 0): unknown {
    const token = this.byte();
    if (token < 0x80) return token;
    if (token < 0x90) return this.map(token & 0x0f, depth);
    if (token < 0xa0) return this.array(token & 0x0f, depth);
    if (token < 0xc0) return this.text(token & 0x1f);
    if (token >= 0xe0) return token - 0x100;
    switch (token) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
        return this.binary(this.byte());
      case 0xc5:
        return this.binary(this.uint16());
      case 0xc6:
        return this.binary(this.uint32());
      case 0xc7:
        return this.extension(this.byte());
      case 0xc8:
        return this.extension(this.uint16());
      case 0xc9:
        return this.extension(this.uint32());
      case 0xca:
        return this.bytes.readFloatBE(this.take(4));
      case 0xcb:
        return this.bytes.readDoubleBE(this.take(8));
      case 0xdc:
        return this.array(this.uint16(), depth);
      case 0xdd:
        return this.array(this.uint32(), depth);
      case 0xde:
        return this.map(this.uint16(), depth);
      case 0xdf:
        return this.map(this.uint32(), depth);
      default:
        if (token >= 0xd4 && token <= 0xd8) return this.extension(1 << (token - 0xd4));
        return this.integer(token) ?? this.longText(token) ?? this.unknown(token);
    }
  }

  /** The next key of a map. */
  key(): string {
    const token = this.byte();
    const key = token >= 0xa0 && token < 0xc0 ? this.text(token & 0x1f) : this.longText(token);
    if (key === undefined) throw this.fault('a key of a map is no text');
    return key;
  }

  /** The head of a map, of which more may follow than is here; false when something else comes. */
  beginMap(): boolean {
    const token = this.byte();
    if (token === 0xde) this.take(2);
    else if (token === 0xdf) this.take(4);
    return (token & 0xf0) === 0x80 || token === 0xde || token === 0xdf;
  }

  private map(count: number, depth: number): Record<string, unknown> {
    this.enter('map', count, 2 * count, depth);
    const object: Record<string, unknown> = {};
    for (let i = 0; i < count; i += 1) {
      const key = this.key();
      const value = this.value(depth + 1);
      if (key === '__proto__') setOwn(object, key, value);
      else object[key] = value;
    }
    return object;
  }

  private array(count: number, depth: number): unknown[] {
    this.enter('array', count, count, depth);
    // Large ones are not made for `count` items at once: arrays in arrays that all declare the rest of the payload would add up.
    const items: unknown[] = count > MAX_ITEMS_AT_ONCE ? [] : Array.from({ length: count });
    for (let i = 0; i < count; i += 1) items[i] = this.value(depth + 1);
    return items;
  }

  private enter(what: string, count: number, leastBytes: number, depth: number): void {
    if (depth >= MAX_MSGPACK_DEPTH) throw this.fault(`it is nested deeper than ${MAX_MSGPACK_DEPTH} levels`);
    const left = this.bytes.length - this.at;
    if (leastBytes > left) throw this.fault(`a ${what} declares ${count} entries, and ${left} bytes follow`);
  }

  private text(length: number): string {
    const { bytes } = this;
    const start = this.take(length);
    const end = this.at;
    if (length < MAX_SHORT_TEXT) {
      let text = '';
      let at = start;
      for (; at < end; at += 1) {
        const unit = bytes[at] ?? 0;
        if (unit >= 0x80) break;
        text += String.fromCharCode(unit);
      }
      if (at === end) return text;
    }
    const text = bytes.toString('utf8', start, end);
    // toString() writes U+FFFD for bytes that are not UTF-8.
    if (text.includes(REPLACEMENT) && !isUtf8(bytes.subarray(start, end)))
      throw this.fault('a text is not UTF-8');
    return text;
  }

  private longText(token: number): string | undefined {
    if (token === 0xd9) return this.text(this.byte());
    if (token === 0xda) return this.text(this.uint16());
    if (token === 0xdb) return this.text(this.uint32());
    return undefined;
  }

  private integer(token: number): number | bigint | undefined {
    const { bytes } = this;
    switch (token) {
      case 0xcc:
        return this.byte();
      case 0xcd:
        return this.uint16();
      case 0xce:
        return this.uint32();
      case 0xcf: {
        const at = this.take(8);
        const high = bytes.readUInt32BE(at);
        const number = high * 2 ** 32 + bytes.readUInt32BE(at + 4);
        return Number.isSafeInteger(number) ? number : bytes.readBigUInt64BE(at);
      }
      case 0xd0:
        return bytes.readInt8(this.take(1));
      case 0xd1:
        return bytes.readInt16BE(this.take(2));
      case 0xd2:
        return bytes.readInt32BE(this.take(4));
      case 0xd3: {
        const at = this.take(8);
        const high = bytes.readInt32BE(at);
        const number = high * 2 ** 32 + bytes.readUInt32BE(at + 4);
        return Number.isSafeInteger(number) ? number : bytes.readBigInt64BE(at);
      }
      default:
        return undefined;
    }
  }

  /** A small part is copied, since it would keep the whole payload, and the chunk around it, for as long as it is kept. */
  private binary(length: number): Buffer {
    const start = this.take(length);
    const part = this.bytes.subarray(start, this.at);
    return 2 * length >= part.buffer.byteLength ? part : Buffer.from(part);
  }

  private extension(length: number): Date | undefined {
    const type = this.byte();
    if (type === UNDEFINED) {
      this.take(length);
      return undefined;
    }
    if (type !== TIMESTAMP) throw this.fault(`it has an extension of type ${type > 127 ? type - 256 : type}`);
    const { bytes } = this;
    const at = this.take(length);
    if (length === 4) return new Date(bytes.readUInt32BE(at) * 1_000);
    if (length === 8) {
      const high = bytes.readUInt32BE(at);
      const seconds = (high % 4) * 2 ** 32 + bytes.readUInt32BE(at + 4);
      return new Date(seconds * 1_000 + Math.floor(high / 4 / 1e6));
    }
    if (length === 12) {
      return new Date(
        Number(bytes.readBigInt64BE(at + 4)) * 1_000 + Math.floor(bytes.readUInt32BE(at) / 1e6),
      );
    }
    throw this.fault(`a timestamp of ${length} bytes`);
  }

  private unknown(token: number): never {
    throw this.fault(`the byte 0x${token.toString(16)} begins no value`);
  }

  private byte(): number {
    const value = this.bytes[this.at];
    if (value === undefined) throw this.cutShort(1);
    this.at += 1;
    return value;
  }

  private uint16(): number {
    return this.bytes.readUInt16BE(this.take(2));
  }

  private uint32(): number {
    return this.bytes.readUInt32BE(this.take(4));
  }

  /** Where the next `length` bytes begin, once it is sure that they are there. */
  private take(length: number): number {
    const start = this.at;
    if (length > this.bytes.length - start) throw this.cutShort(length);
    this.at = start + length;
    return start;
  }

  private cutShort(wanted: number): MeshError {
    return this.fault(`it ends where ${wanted} more bytes must follow`);
  }

  private fault(reason: string): MeshError {
    return new MeshError(
      'INVALID_ARGUMENT',
      `a payload of ${this.bytes.length} bytes is not MessagePack: ${reason}`,
    );
  }
}

/** A property of its own, whatever its name. */
export function setOwn(object: object, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
}
