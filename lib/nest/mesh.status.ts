/** What `status` and `on()` of server and client tell. */
import type { RegistryStatus } from '../registry/registry.js';

/**
 * How the node stands with its registry: `disconnected` before the first exchange, `connected`, or `stale` when it is away (the
 * nodes known until then go on being called).
 */
export type MeshStatus = 'disconnected' | 'connected' | 'stale';

/** The events of `on()`. */
export type MeshEvents = {
  /** At each change of the status. */
  status: (status: MeshStatus) => void;
};

/** The status of a node by that of its registry. */
export function statusOf(status: RegistryStatus): MeshStatus {
  return status.state === 'idle' ? 'disconnected' : status.state;
}
