/** The basics over every registry, over TLS, and in both codecs. */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeCertificates } from '../support/certificates.js';
import { RedisServer } from '../support/redis-server.js';
import { describeNestBasics } from './describe-nest-basics.js';

describeNestBasics('memory:', () => ({
  options: { registry: `memory:${randomUUID()}` },
  dispose: () => undefined,
}));

describeNestBasics('memory: in MessagePack', () => ({
  options: { registry: `memory:${randomUUID()}`, codec: 'msgpack' },
  dispose: () => undefined,
}));

describeNestBasics('redis://', async () => {
  const redis = await RedisServer.start();
  return { options: { registry: redis.url }, dispose: () => redis.stop() };
});

describeNestBasics('file:', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mesh-basics-'));
  return {
    options: { registry: `file:${folder}` },
    dispose: () => rmSync(folder, { recursive: true, force: true }),
  };
});

describeNestBasics('TLS with certificates of both sides, and redis:// with a password', async () => {
  const redis = await RedisServer.start({ password: 'p@ss:word' });
  const { ca, cert, key } = makeCertificates();
  return {
    options: { registry: redis.url, tls: { ca, cert, key, requestCert: true } },
    dispose: () => redis.stop(),
  };
});
