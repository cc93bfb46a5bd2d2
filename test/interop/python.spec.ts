/** Nest and Python over a real Redis, over a shared directory, with TLS, and in MessagePack. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { certificateFiles } from '../support/certificates.js';
import { RedisServer } from '../support/redis-server.js';
import { describeInterop } from './interop.js';

describeInterop('a real Redis', async () => {
  const redis = await RedisServer.start();
  return { registry: redis.url, close: () => redis.stop() };
});

describeInterop('a real Redis, with TLS', async () => {
  const redis = await RedisServer.start();
  const { files, pem, remove } = certificateFiles();
  return {
    registry: redis.url,
    tls: { options: pem, files },
    close: async () => {
      remove();
      await redis.stop();
    },
  };
});

describeInterop('a real Redis, in MessagePack', async () => {
  const redis = await RedisServer.start();
  return { registry: redis.url, codec: 'msgpack', close: () => redis.stop() };
});

describeInterop('a shared directory', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mesh-file-'));
  return {
    registry: `file:${folder}`,
    close: async () => rmSync(folder, { recursive: true, force: true }),
  };
});
