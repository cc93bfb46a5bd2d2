/** The peers that are measured, in the order of the tables. */
import type { Peer, Side } from './peer.js';

/** What ratios are taken to, unless a case says another. */
export const BASELINE = 'nest-tcp';

/** Of the transports of Nest that carry one request a message. */
const ONE_REQUEST = { upload: 'has no request streams', duplex: 'has no channels' } as const;

export const peers: readonly Peer[] = [
  node('mesh', 'mesh', 'mesh', { needs: ['redis'] }),
  node('mesh-tls', 'mesh, TLS', 'mesh', { needs: ['redis'], settings: { tls: true } }),
  node('nest-tcp', 'Nest TCP', 'nest-tcp', { unable: ONE_REQUEST }),
  node('nest-grpc', 'Nest gRPC', 'nest-grpc', { unable: { emit: 'has no events' } }),
  node('nest-nats', 'Nest NATS', 'nest-nats', { needs: ['nats'], unable: ONE_REQUEST }),
  node('nest-redis', 'Nest Redis', 'nest-redis', { needs: ['redis'], unable: ONE_REQUEST }),
  node('moleculer', 'Moleculer', 'moleculer', { unable: { duplex: 'has no channels' } }),
  node('floor-http2', 'bare http2 stream', 'floor-http2'),
  node('floor-net', 'bare TCP socket', 'floor-net'),
  withPython('mesh-to-python', 'mesh, Nest to Python', nodeSide('mesh'), pythonSide('mesh_side.py')),
  withPython('grpc-to-python', 'gRPC, Nest to Python', nodeSide('nest-grpc'), pythonSide('grpc_side.py')),
  withPython('python-to-mesh', 'mesh, Python to Nest', pythonSide('mesh_side.py'), nodeSide('mesh')),
  withPython('python-to-grpc', 'gRPC, Python to Nest', pythonSide('grpc_side.py'), nodeSide('nest-grpc')),
  manyNodes('nodes-1', 'one node', 1),
  manyNodes('nodes-10', '10 nodes', 10),
  manyNodes('nodes-100', '100 nodes', 100),
  manyNodes('nodes-1000', '1,000 nodes', 1_000),
];

/** A peer both of whose sides are the module `module` under `peers/`. */
function node(name: string, label: string, module: string, more: Partial<Peer> = {}): Peer {
  return { name, label, server: nodeSide(module), client: nodeSide(module), ...more };
}

/** The mesh, with so many nodes of the service that is called. */
function manyNodes(name: string, label: string, count: number): Peer {
  return node(name, label, 'mesh-many', { general: false, needs: ['redis'], settings: { count } });
}

/** A peer of the cases between two languages. */
function withPython(name: string, label: string, client: Side, server: Side): Peer {
  return { name, label, client, server, general: false, needs: ['redis'] };
}

function nodeSide(module: string): Side {
  return { kind: 'node', module };
}

function pythonSide(file: string): Side {
  return { kind: 'python', file };
}
