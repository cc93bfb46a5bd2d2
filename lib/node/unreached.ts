/** Why nothing is given to the nodes of a service: for the error of a call that waits in vain, and to end what need not wait. */
import type { MeshError } from '../protocol/mesh-error.js';
import type { ServiceRegistry } from '../registry/registry.js';
import type { RemoteNode } from './remote-node.js';

/** The known nodes of one service, by their ids. */
export interface KnownNodes {
  readonly service: string;
  readonly nodes: ReadonlyMap<string, RemoteNode>;
  readonly registry: ServiceRegistry;
}

/** What was found, in words; `nodeId` is the node that is wanted and no other. */
export function describeUnreached(
  { service, nodes, registry }: KnownNodes,
  nodeId: string | undefined,
): string {
  const { status, url } = registry;
  const stale = status.state === 'stale' ? `; the registry ${url} is away: ${status.reason}` : '';
  if (nodes.size === 0)
    return `no node of service '${service}' is listed in ${url}, and none without a port has connected${stale}`;
  if (nodeId !== undefined && !nodes.has(nodeId)) {
    return `node ${nodeId} is not among the ${nodes.size} known nodes of service '${service}'${stale}`;
  }
  const reasons = new Set<string>();
  for (const node of nodes.values()) {
    if (node.draining) reasons.add(`${node.address} is draining`);
    else if (node.fault !== undefined) reasons.add(node.fault.rawMessage);
  }
  const why = reasons.size === 0 ? 'none answered yet' : [...reasons].slice(0, 3).join('; ');
  return `${nodes.size} node(s) of service '${service}' known, none could be reached: ${why}${stale}`;
}

/**
 * Waiting helps when nodes are away, not when every one of them refuses to speak the mesh with us: then this is what one of them
 * said. `nodeId` is the node that is wanted and no other.
 */
export function commonRefusal(
  nodes: Iterable<RemoteNode>,
  nodeId: string | undefined,
): MeshError | undefined {
  let refusal: MeshError | undefined;
  for (const node of nodes) {
    if (nodeId !== undefined && node.id !== nodeId) continue;
    if (node.lastError === undefined || node.lastError.code === 'UNAVAILABLE') return undefined;
    refusal = node.lastError;
  }
  return refusal;
}
