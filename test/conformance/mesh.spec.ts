/** The conformance table over the mesh: in clear, with TLS, and once through a real Redis. */
import { afterAll, beforeAll, describe } from '@jest/globals';
import { makeCertificates } from '../support/certificates.js';
import { RedisServer } from '../support/redis-server.js';
import { describeConformance } from './conformance.js';
import { meshTransport } from './mesh.js';

const plain = meshTransport();
describeConformance('mesh', plain.makeServer, plain.makeClient);

const tls = makeCertificates();
const secure = meshTransport(() => ({ tls }));
describeConformance('mesh over TLS', secure.makeServer, secure.makeClient);

describe('through Redis', () => {
  let redis: RedisServer | undefined;
  beforeAll(async () => {
    redis = await RedisServer.start();
  });
  afterAll(() => redis?.stop());

  const shared = meshTransport(() => ({ registry: redis?.url }));
  describeConformance('mesh over redis', shared.makeServer, shared.makeClient);
});
