/** The peers that are measured, in the order of the tables. */
import type { Peer } from './peer.js';

/** What ratios are taken to, unless a case says another. */
export const BASELINE = 'nest-tcp';

export const peers: readonly Peer[] = [
  node('mesh', 'mesh', 'mesh', { needs: ['redis'] }),
  node('mesh-tls', 'mesh, TLS', 'mesh', { needs: ['redis'], settings: { tls: true } }),
  node('nest-tcp', 'Nest TCP', 'nest-tcp'),
];

/** A peer both of whose sides are the module `module` under `peers/`. */
function node(name: string, label: string, module: string, more: Partial<Peer> = {}): Peer {
  return { name, label, server: { kind: 'node', module }, client: { kind: 'node', module }, ...more };
}
