/** The mesh, for the conformance suite. */
import { randomUUID } from 'node:crypto';
import { MeshClientProxy, MeshServer, type MeshClientOptions, type MeshOptions } from '../../lib/index.js';
import type { MakeClient, MakeServer } from './stage.js';

/** What is the same for every server and client of one run of the suite. */
export type MeshCommon = Pick<MeshOptions, 'tls' | 'registry' | 'codec'>;

/** The factories. Without a registry each server has one in memory. */
export function meshTransport(common: () => MeshCommon = () => ({})): {
  readonly makeServer: MakeServer;
  readonly makeClient: MakeClient;
} {
  const homes = new WeakMap<object, MeshOptions>();
  return {
    makeServer({ like, maxMessageBytes, drainTimeoutMs, incompleteMessageTimeoutMs, port, codecs }) {
      const home = (like && homes.get(like)) ?? {
        registry: `memory:${randomUUID()}`,
        service: `service-${randomUUID()}`,
        ...common(),
      };
      const server = new MeshServer({
        ...home,
        ...codecs,
        port,
        drainTimeoutMs,
        limits: {
          ...(maxMessageBytes === undefined ? {} : { maxFrameBytes: maxMessageBytes }),
          ...(incompleteMessageTimeoutMs === undefined
            ? {}
            : { incompleteFrameTimeoutMs: incompleteMessageTimeoutMs }),
        },
      });
      homes.set(server, home);
      return server;
    },
    makeClient(server, { timeoutMs }) {
      const home = homes.get(server);
      if (home === undefined)
        throw new Error('a row asked for a client of a server that the suite has not made');
      const options: MeshClientOptions = { ...home, service: 'caller', to: home.service, timeoutMs };
      return { customClass: MeshClientProxy, options: { ...options } };
    },
  };
}
