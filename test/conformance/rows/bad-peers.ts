/** Peers that begin a message and never end it, by bare sockets. */
import { Controller } from '@nestjs/common';
import { MessagePattern } from '@nestjs/microservices';
import { connect as connectHttp2 } from 'node:http2';
import { connect as connectTcp, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { answer } from '../outcome.js';
import type { Section } from '../row.js';
import type { AnyServer, Stage } from '../stage.js';

const LIMIT_MS = 80;
/** For what must not happen: several times the limit. */
const PATIENCE_MS = 400;

@Controller()
class EchoController {
  @MessagePattern('echo')
  echo(data: unknown): unknown {
    return data;
  }
}

const portOf = (server: AnyServer): number => server.unwrap<{ address(): AddressInfo }>().address().port;

interface Raw {
  readonly closed: Promise<void>;
  write(bytes: Buffer): void;
  close(): void;
}

/** The start of a message: a length of 100, and a few of its bytes. */
function begun(stage: Stage): Buffer {
  if (stage.kind === 'tcp') return Buffer.from('100#{"pat');
  return Buffer.concat([Buffer.from([0, 0, 0, 100]), Buffer.from('{"pat')]);
}

function raw(stage: Stage, server: AnyServer): Raw {
  const port = portOf(server);
  if (stage.kind === 'tcp') {
    const socket = connectTcp(port, '127.0.0.1').on('error', () => undefined);
    stage.keep({ close: () => socket.destroy() });
    return {
      closed: new Promise((resolve) => socket.once('close', () => resolve())),
      write: (bytes) => void socket.write(bytes),
      close: () => socket.destroy(),
    };
  }
  const secure = 'setSecureContext' in server.unwrap<object>();
  const http2 = connectHttp2(`${secure ? 'https' : 'http'}://127.0.0.1:${port}`, {
    rejectUnauthorized: false,
  }).on('error', () => undefined);
  stage.keep({ close: () => http2.destroy() });
  const stream = http2.request({ ':method': 'POST', ':path': '/channel', 'x-service-name': 'raw' });
  stream.on('error', () => undefined).resume();
  return {
    closed: new Promise((resolve) => stream.once('close', () => resolve())),
    write: (bytes) => void stream.write(bytes),
    close: () => http2.destroy(),
  };
}

/** What became of the connection, and whether others are still answered. */
async function fate(stage: Stage, bytes: Buffer | undefined): Promise<unknown> {
  const { client, server } = await stage.serve(EchoController, {
    settings: { incompleteMessageTimeoutMs: LIMIT_MS },
  });
  const peer = raw(stage, server);
  if (bytes !== undefined) peer.write(bytes);
  const outcome = await Promise.race([
    peer.closed.then(() => 'dropped'),
    sleep(PATIENCE_MS, 'kept', { ref: false }),
  ]);
  peer.close();
  return [outcome, (await answer(client, 'echo', 1)).values];
}

export const BAD_PEERS: Section = {
  title: 'Peers that misbehave',
  rows: [
    {
      id: 'bad-peers.half',
      title: 'A peer that begins a message and then says nothing is dropped, and others are answered.',
      both: ['dropped', [1]],
      observe: (stage) => fate(stage, begun(stage)),
    },
    {
      id: 'bad-peers.idle',
      title: 'A peer that says nothing at all is kept.',
      both: ['kept', [1]],
      observe: (stage) => fate(stage, undefined),
    },
  ],
};
