/** What a client is bound to: a node, the service or the channel that its calls go to, and what holds for them. */
import { MeshNode } from '../node/mesh-node.js';
import type { OutboundEvent } from '../node/outbound-events.js';
import { resolveOptions } from '../node/resolve-options.js';
import type { CallerTarget, ChannelTarget, ServiceTarget, Target } from '../node/target.js';
import { MeshError } from '../protocol/mesh-error.js';
import type { Metadata } from '../protocol/packet.js';
import { checkServiceName } from '../registry/service-name.js';
import { remaining, type BoundCallOptions } from './call-options.js';
import type { MeshClientOptions } from './client-options.js';
import { meshLogger } from './mesh.logger.js';
import { MeshRecord } from './mesh.record-builder.js';
import { NodeHolder } from './node-holder.js';
import { asRoute } from './route.js';
import { checkedSerialization, type ClientSerialization } from './serialization.js';

export interface ClientBinding {
  readonly holder: NodeHolder;
  readonly target: Target | undefined;
  readonly call: BoundCallOptions;
  /** How its packets are written and read; `undefined` for those of the mesh itself. */
  readonly serialization?: ClientSerialization | undefined;
}

/** A packet as the hooks of the client left it. */
export interface DispatchedPacket {
  readonly pattern: unknown;
  readonly data: unknown;
  readonly metadata?: Metadata | undefined;
}

/** What is sent for a packet, and where it goes. */
export interface Outbound {
  readonly target: Target;
  readonly event: OutboundEvent;
}

/** The binding of a client that is made by hand: a node of its own. Throws one `MeshError` that lists every fault. */
export function ownBinding(options: MeshClientOptions): ClientBinding {
  const { to, serializer, deserializer, ...nodeOptions } = options;
  const serialization = checkedSerialization<ClientSerialization>({ serializer, deserializer });
  const withLogger = { logger: meshLogger(), ...nodeOptions };
  resolveOptions(withLogger);
  const target = to === undefined ? undefined : serviceTarget(to);
  return { holder: new NodeHolder(true, () => new MeshNode(withLogger)), target, call: {}, serialization };
}

/** The service that is meant. Throws when it can be none. */
export function serviceTarget(target: string | ServiceTarget): ServiceTarget {
  const wanted = typeof target === 'string' ? { service: target } : target;
  const fault = checkServiceName(wanted.service);
  if (fault !== undefined)
    throw new MeshError('INVALID_ARGUMENT', `the target: ${fault}`, { delivery: 'not-sent' });
  return wanted;
}

/** What is sent for a packet: by the record of the call, the options of the client, and those of the node, in this order. */
export function outboundOf(binding: ClientBinding, packet: DispatchedPacket, pattern: string): Outbound {
  return { target: targetOf(binding, recordOf(packet)), event: messageOf(binding, packet, pattern) };
}

/** The same for an event, with what is waited for. Where it goes is another question. */
export function outboundEventOf(
  binding: ClientBinding,
  packet: DispatchedPacket,
  pattern: string,
): OutboundEvent {
  const { call } = binding;
  const ack = recordOf(packet)?.options.ack ?? call.ack;
  const event = messageOf(binding, packet, pattern);
  return ack === undefined && call.signal === undefined ? event : { ...event, ack, signal: call.signal };
}

/** Where an event goes. Throws for a client that is bound to no service. */
export function eventTargetOf(binding: ClientBinding, packet: DispatchedPacket): Target {
  return targetOf(binding, recordOf(packet));
}

function recordOf({ data }: DispatchedPacket): MeshRecord | undefined {
  return MeshRecord.is(data) ? data : undefined;
}

function messageOf(
  { call, holder }: ClientBinding,
  packet: DispatchedPacket,
  pattern: string,
): OutboundEvent {
  const { data, metadata: hooked } = packet;
  const record = recordOf(packet);
  const metadata =
    hooked === undefined && call.metadata === undefined && record?.options.metadata === undefined
      ? undefined
      : { ...hooked, ...call.metadata, ...record?.options.metadata };
  return {
    pattern: packet.pattern,
    route: asRoute(pattern),
    data: record === undefined ? data : record.data,
    metadata,
    timeoutMs: remaining(
      record?.options.timeoutMs ?? call.timeoutMs ?? holder.node.options.timeoutMs,
      call.deadline,
    ),
    retry: call.retry,
    idempotent: call.idempotent,
    hedgeAfterMs: call.hedgeAfterMs,
  };
}

/** The error of `publish()` on a client that is bound to a service. */
export function boundToOne(target: Target): MeshError {
  const to = isCaller(target) ? 'the caller' : `the service '${target.service}'`;
  return new MeshError(
    'FAILED_PRECONDITION',
    `publish() reaches every service that takes the event, but this client is bound to ${to}: use mesh.publish(...) of the client that is bound to none`,
    { delivery: 'not-sent' },
  );
}

/** The error of a method that needs a service, of a client that is bound to none. */
export function unbound(method: string): MeshError {
  return new MeshError(
    'FAILED_PRECONDITION',
    `this client is bound to no service: use client.to('service').${method}(...)`,
    {
      delivery: 'not-sent',
    },
  );
}

function targetOf({ target }: ClientBinding, record: MeshRecord | undefined): Target {
  if (target === undefined) throw unbound('send');
  if (record === undefined || isCaller(target)) return target;
  const { key, nodeId } = record.options;
  return key === undefined && nodeId === undefined
    ? target
    : { ...target, key: key ?? target.key, nodeId: nodeId ?? target.nodeId };
}

/** True for the target of `ctx.client`: one node and no other. */
export function isCaller(target: Target): target is ChannelTarget | CallerTarget {
  return 'channel' in target || 'back' in target;
}
