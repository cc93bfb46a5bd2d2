/** The parts of the library that are measured by themselves. They are not in its public API, so they are loaded from their files. */
export { JSON_CODEC } from '../../node_modules/nestjs-mesh/dist/protocol/codec.js';
export { FrameDecoder } from '../../node_modules/nestjs-mesh/dist/protocol/frame-decoder.js';
export { writeFrames } from '../../node_modules/nestjs-mesh/dist/protocol/frame-writer.js';
export { DEFAULT_WIRE_LIMITS } from '../../node_modules/nestjs-mesh/dist/protocol/limits.js';
export { packetKind } from '../../node_modules/nestjs-mesh/dist/protocol/packet.js';
export { Candidates } from '../../node_modules/nestjs-mesh/dist/node/candidates.js';
export type { RemoteNode } from '../../node_modules/nestjs-mesh/dist/node/remote-node.js';
export { EventRoutes } from '../../node_modules/nestjs-mesh/dist/nest/event-routes.js';
export { MessageRoutes } from '../../node_modules/nestjs-mesh/dist/nest/message-routes.js';
export { DeadlineQueue } from '../../node_modules/nestjs-mesh/dist/transport/deadline-queue.js';
export { roundRobin } from '../../node_modules/nestjs-mesh/dist/routing/round-robin.js';
