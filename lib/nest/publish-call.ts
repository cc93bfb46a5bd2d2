/** A call over the packet channel, as Nest's callback of packets. */
import type { WritePacket } from '@nestjs/microservices';
import type { MeshNode } from '../node/mesh-node.js';
import type { MeshError } from '../protocol/mesh-error.js';
import type { ResponsePacket } from '../protocol/packet.js';
import type { CallObserver } from '../transport/outbound-call.js';
import { abortError } from './call-options.js';
import type { Outbound } from './client-binding.js';
import { guard } from './foreign.js';

/** Makes the call and hands its answer to Nest's callback, packet by packet. The teardown cancels it. */
export function publishCall(
  node: MeshNode,
  { target, event }: Outbound,
  callback: (packet: WritePacket) => void,
  signal: AbortSignal | undefined,
  onFault: (error: unknown) => void,
): () => void {
  const observer = new PublishObserver(callback, onFault);
  if (signal?.aborted === true) {
    observer.onFailure(abortError(signal).withDelivery('not-sent').at({ pattern: event.route }));
    return () => undefined;
  }
  const call = node.request(target, event, observer);
  if (signal === undefined) return () => call.cancel();
  const abort = (): void => call.fail(abortError(signal), true);
  signal.addEventListener('abort', abort, { once: true });
  return () => {
    signal.removeEventListener('abort', abort);
    call.cancel();
  };
}

/** Hands the packets of an answer to Nest's callback as they are. One that throws harms no other call. */
class PublishObserver implements CallObserver {
  constructor(
    private readonly callback: (packet: WritePacket) => void,
    private readonly onFault: (error: unknown) => void,
  ) {}

  onPacket(packet: ResponsePacket): void {
    guard(() => this.callback(packet as WritePacket), this.onFault);
  }

  onFailure(error: MeshError): void {
    guard(() => this.callback({ err: error }), this.onFault);
  }
}
