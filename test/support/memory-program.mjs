/**
 * One side of a large message, in a process of its own: `serve REGISTRY` answers with what it gets, `call REGISTRY BYTES CALLS`
 * sends a text of so many bytes and makes so many small calls meanwhile, then prints what came of it as JSON.
 */
import { MeshNode } from './node_modules/nestjs-mesh/dist/node/mesh-node.js';

const [role, registry, bytes, calls] = process.argv.slice(2);
const MOST_BYTES = 128 << 20;
const node = new MeshNode({
  service: role,
  registry,
  limits: { maxFrameBytes: MOST_BYTES, maxPendingBytes: MOST_BYTES },
  logger: { log: ignore, debug: ignore, warn: console.error, error: console.error },
});

function ignore() {}

/** In bytes. */
const peak = () => process.resourceUsage().maxRSS * 1024;

function call(pattern, data) {
  return new Promise((resolve, reject) => {
    const request = { pattern, route: pattern, data, metadata: undefined, timeoutMs: 100_000 };
    node.request({ service: 'serve' }, request, {
      onPacket: ({ response, err }) =>
        err === undefined ? resolve(response) : reject(new Error(String(err))),
      onFailure: reject,
    });
  });
}

if (role === 'serve') {
  node.setHandlers({
    onRequest: (inbound) => inbound.respond(inbound.pattern === 'peak' ? peak() : inbound.data),
    onEvent: ignore,
    hasChannel: () => false,
    onChannel: ignore,
  });
  await node.listen();
  await node.announce();
  console.log('ready');
} else {
  await call('echo', 0);
  let over = false;
  const large = call('echo', 'x'.repeat(Number(bytes))).then((text) => {
    over = true;
    return text.length;
  });
  let answered = 0;
  let before = 0;
  for (let at = 0; at < Number(calls); at += 1) {
    if ((await call('echo', at)) === at) answered += 1;
    if (!over) before += 1;
  }
  const length = await large;
  const channels = node['directories'].dialledChannels.length;
  console.log(
    JSON.stringify({ length, answered, before, channels, caller: peak(), callee: await call('peak') }),
  );
  await node.close();
}
