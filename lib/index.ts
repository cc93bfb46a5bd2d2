/** The public names of the package. */
export {
  MeshModule,
  type MeshFeature,
  type MeshModuleAsyncOptions,
  type MeshOptionsFactory,
} from './nest/mesh.module.js';
export { MeshServer, type MeshServerOptions } from './nest/mesh.server.js';
export type { ClientSerialization, ServerSerialization } from './nest/serialization.js';
export { MeshClientProxy } from './nest/mesh.client-proxy.js';
export type { MeshChannelOptions, MeshClientOptions } from './nest/client-options.js';
export type {
  AnyContract,
  CallPatterns,
  ChannelNameOf,
  EventOf,
  EventPatterns,
  GivenOf,
  MeshContract,
  MeshPattern,
  OpenedChannel,
  RequestOf,
  ResponseOf,
  ServedChannel,
  StreamPatterns,
  UnaryPatterns,
} from './nest/contract.js';
export {
  meshPatterns,
  type MeshCallAnswer,
  type MeshCallHandler,
  type MeshChannelHandler,
  type MeshEventHandler,
  type MeshHandlerDecorator,
  type MeshHandlers,
  type MeshObservableCallHandler,
  type MeshPatterns,
} from './nest/contract-handlers.js';
export type { MeshCallOptions, MeshCallScope } from './nest/call-options.js';
export type { MeshHandlerExtras } from './nest/handler-extras.js';
export { MeshChannel } from './nest/mesh.channel.js';
export { MeshContext } from './nest/mesh.context.js';
export { ChannelPattern } from './nest/mesh.decorators.js';
export { MeshRecord, MeshRecordBuilder, type MeshRecordOptions } from './nest/mesh.record-builder.js';
export { AsyncIterableInterceptor } from './nest/async-iterable.interceptor.js';
export { MeshExceptionFilter } from './nest/mesh-exception.filter.js';
export { MeshHttpExceptionFilter } from './nest/mesh-http-exception.filter.js';
export type { HandlerErrorDetails, HandlerErrorWire } from './protocol/handler-error.js';
export { getMeshClientToken, InjectMeshClient, MESH_OPTIONS, MESH_TRANSPORT } from './nest/mesh.tokens.js';
export type { MeshEvents, MeshStatus } from './nest/mesh.status.js';
export { MeshNode, type NodeStatus } from './node/mesh-node.js';
export type { MeshPeer, PeerEvents } from './node/peer-events.js';
export type { PeerLoad, PeerState, PeerStatus } from './node/peer-status.js';
export type { LoadStatus } from './node/own-load.js';
export { MESH_DEFAULTS, type MeshLogger, type MeshOptions } from './node/mesh-options.js';
export type { EventStatus } from './node/event-counts.js';
export type { PublishReceipt } from './node/outbound-events.js';
export type { ServiceTarget } from './node/target.js';
export { MeshError, type Delivery, type MeshErrorInit, type MeshErrorWire } from './protocol/mesh-error.js';
export { MESH_ERROR_CODES, type MeshErrorCode } from './protocol/error-code.js';
export type { CodecName } from './protocol/codecs.js';
export { DEFAULT_WIRE_LIMITS, type WireLimits } from './protocol/limits.js';
export type { EventAck, Metadata } from './protocol/packet.js';
export type { NodeRecord } from './registry/node-record.js';
export type {
  Announcement,
  RegistryStatus,
  ServiceRegistry,
  SubscriberListener,
  Watch,
  WatchListener,
} from './registry/registry.js';
export { boundedLoad } from './routing/bounded-load.js';
export type { EjectionOptions } from './routing/ejection.js';
export { leastOpen } from './routing/least-open.js';
export { p2c } from './routing/p2c.js';
export type { Candidate, CandidateLoad, Picker, PickerFactory, PickRequest } from './routing/picker.js';
export { random } from './routing/random.js';
export type { RetryBudgetOptions } from './routing/retry-budget.js';
export type { RetryOptions } from './routing/retry.js';
export { roundRobin } from './routing/round-robin.js';
export { weighted } from './routing/weighted.js';
export { preferZone, type ZoneOptions } from './routing/zone.js';
export type { CallRetry } from './transport/outbound-call.js';
export type { BackoffOptions } from './transport/backoff.js';
export type { KeepAliveOptions } from './transport/keep-alive.js';
export type { Peer } from './transport/peer.js';
export type { MeshTlsOptions } from './transport/tls-options.js';
