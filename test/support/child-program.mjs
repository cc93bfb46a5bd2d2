/**
 * A peer in a process of its own, to be killed or frozen: `node child-program.mjs NODE_ID [silent]`. It accepts every channel,
 * answers requests with their own data (or, when `silent`, never), and prints its port.
 */
import { createServer } from 'node:http2';

const [nodeId, silent] = process.argv.slice(2);
const server = createServer({ settings: { initialWindowSize: 65_535 } });

server.on('stream', (stream) => {
  stream.on('error', () => undefined);
  stream.respond({ ':status': 200, 'x-mesh-node-id': nodeId, 'x-mesh-version': '1' });
  let rest = Buffer.alloc(0);
  if (silent === 'deaf') return;
  stream.on('data', (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE()) {
      const end = 4 + rest.readUInt32BE();
      const packet = JSON.parse(rest.subarray(4, end).toString());
      rest = rest.subarray(end);
      if (silent === undefined && packet.id !== undefined && packet.pattern !== undefined)
        answer(stream, packet);
    }
  });
});

function answer(stream, { id, data }) {
  const body = Buffer.from(JSON.stringify({ id, response: data, isDisposed: true }));
  const head = Buffer.alloc(4);
  head.writeUInt32BE(body.length);
  stream.write(Buffer.concat([head, body]));
}

server.listen(0, '127.0.0.1', () => process.stdout.write(`${server.address().port}\n`));
// The one who started it holds this pipe: when that is gone, so is this.
process.stdin.on('end', () => process.exit()).resume();
