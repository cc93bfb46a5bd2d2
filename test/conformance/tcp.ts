/** Nest's own TCP transport, for the conformance suite. */
import type { Type } from '@nestjs/common';
import { ClientTCP, ServerTCP, type ClientProxy } from '@nestjs/microservices';
import type { AddressInfo, Server } from 'node:net';
import type { AnyServer, ClientRecipe, ServerSettings } from './stage.js';

const HOST = '127.0.0.1';
const ports = new WeakMap<AnyServer, number>();

export function tcpServer(settings: ServerSettings): ServerTCP {
  const { like, maxMessageBytes, incompleteMessageTimeoutMs, port = 0 } = settings;
  const server = new ServerTCP({
    host: HOST,
    port: like === undefined ? port : portOf(like),
    ...codecsOf(settings),
    ...(maxMessageBytes === undefined ? {} : { maxBufferSize: maxMessageBytes }),
    ...(incompleteMessageTimeoutMs === undefined
      ? {}
      : { incompleteMessageTimeout: incompleteMessageTimeoutMs }),
  });
  // The port is gone with the server, and rows go on calling it.
  server.unwrap<Server>().on('listening', () => portOf(server));
  return server;
}

function codecsOf({ codecs: { serializer, deserializer } = {} }: ServerSettings): object {
  return { ...(serializer && { serializer }), ...(deserializer && { deserializer }) };
}

export function clientOfTcp(server: AnyServer): ClientRecipe {
  return {
    customClass: ClientTCP as unknown as Type<ClientProxy>,
    options: { host: HOST, port: portOf(server) },
  };
}

function portOf(server: AnyServer): number {
  const known = ports.get(server);
  if (known !== undefined) return known;
  const address = server.unwrap<Server>().address() as AddressInfo | null;
  if (address === null) throw new Error('a row asked for the port of a TCP server that does not listen');
  ports.set(server, address.port);
  return address.port;
}
