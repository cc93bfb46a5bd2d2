/** The packets of an answer that must wait for one before them, which comes on a stream of its own. */
import type { ResponsePacket } from '../protocol/packet.js';
import type { LargeFetch } from './large-fetch.js';

interface Place {
  /** `undefined` for a packet that came by itself. */
  readonly token: string | undefined;
  packet: ResponsePacket | undefined;
  /** Payload bytes, of a packet that came by itself. */
  readonly bytes: number;
  fetch: LargeFetch | undefined;
}

export class HeldAnswer {
  private readonly places: Place[] = [];
  /** Payload bytes of the packets that wait. */
  bytes = 0;

  /** A packet that comes after what is waited for. */
  add(packet: ResponsePacket, bytes: number): void {
    this.places.push({ token: undefined, packet, bytes, fetch: undefined });
    this.bytes += bytes;
  }

  /** Keeps a place for the packet of a token; it is filled by {@link fill}. */
  keepPlace(token: string): void {
    this.places.push({ token, packet: undefined, bytes: 0, fetch: undefined });
  }

  /** True while a place waits for the packet of this token. */
  waitsFor(token: string): boolean {
    return this.waiting(token) !== undefined;
  }

  /** What is under way to fill the place of a token. */
  fetching(token: string, fetch: LargeFetch): void {
    const place = this.waiting(token);
    if (place === undefined) fetch.cancel();
    else place.fetch = fetch;
  }

  /** The packet of a token; false when no place waits for it. */
  fill(token: string, packet: ResponsePacket): boolean {
    const place = this.waiting(token);
    if (place === undefined) return false;
    place.packet = packet;
    place.fetch?.cancel();
    return true;
  }

  /** The next packet in order; `undefined` while it has not come, and when there is none. */
  shift(): ResponsePacket | undefined {
    const [first] = this.places;
    if (first?.packet === undefined) return undefined;
    this.places.shift();
    this.bytes -= first.bytes;
    return first.packet;
  }

  /** True when nothing waits. */
  get empty(): boolean {
    return this.places.length === 0;
  }

  /** Nobody wants it any more. */
  drop(): void {
    for (const { fetch } of this.places.splice(0)) fetch?.cancel();
  }

  private waiting(token: string): Place | undefined {
    return this.places.find((place) => place.token === token && place.packet === undefined);
  }
}
