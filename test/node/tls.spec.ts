/** Nodes over TLS: the same as in cleartext with certificates that fit, and a clear error with those that do not. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { makeCertificates } from '../support/certificates.js';
import { callOf, failureOf, Mesh, recordOf, StaticRegistry } from '../support/mesh-fixture.js';

const mesh = new Mesh();
afterEach(() => mesh.close());

const ours = makeCertificates();
const other = makeCertificates();
const MATH = { service: 'math' };
const DOUBLE = { calls: { double: (n: number) => n * 2 }, channels: { echo: () => undefined } };

describe('A mesh with TLS', () => {
  it('calls, and opens raw channels', async () => {
    await mesh.serve('math', DOUBLE, { tls: ours });
    const caller = mesh.node({ tls: { ca: ours.ca } });
    expect(await callOf(caller, MATH, 'double', 21)).toBe(42);
    await caller.openChannel(MATH, {
      name: 'echo',
      metadata: undefined,
      sessionId: undefined,
      timeoutMs: 1_000,
    });
  });

  it('refuses a callee whose certificate is of another CA, and the error names the `tls` options', async () => {
    await mesh.serve('math', DOUBLE, { tls: ours });
    const caller = mesh.node({ tls: { ca: other.ca } });
    const error = await failureOf(callOf(caller, MATH, 'double', 1, { timeoutMs: 300 }));
    expect(error).toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent' });
    expect(error.rawMessage).toContain('check the `tls` options of both sides');
  });

  it('with requestCert takes callers that have a certificate of the CA', async () => {
    await mesh.serve('math', DOUBLE, { tls: { ...ours, requestCert: true } });
    expect(await callOf(mesh.node({ tls: ours }), MATH, 'double', 2)).toBe(4);
  });

  it.each([
    ['have none', { ca: ours.ca }],
    ['have one of another CA', { ca: ours.ca, cert: other.cert, key: other.key }],
  ])('with requestCert refuses callers that %s', async (_, tls) => {
    await mesh.serve('math', DOUBLE, { tls: { ...ours, requestCert: true } });
    const error = await failureOf(callOf(mesh.node({ tls }), MATH, 'double', 2, { timeoutMs: 400 }));
    expect(error).toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent' });
    expect(error.rawMessage).toContain('check the `tls` options of both sides');
  });

  it('and cleartext do not mix, and both sides say so', async () => {
    const secure = await mesh.serve('math', DOUBLE, { tls: ours });
    const plain = await mesh.serve('math', DOUBLE);
    const intoTls = mesh.node({
      registry: new StaticRegistry(recordOf('math', secure.record.port, secure.id)),
    });
    const intoPlain = mesh.node({
      registry: new StaticRegistry(recordOf('math', plain.record.port, plain.id)),
      tls: { ca: ours.ca },
    });
    for (const caller of [intoTls, intoPlain]) {
      const error = await failureOf(callOf(caller, MATH, 'double', 1, { timeoutMs: 300 }));
      expect(error).toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent' });
      expect(error.rawMessage).toContain('cannot connect to');
    }
    expect(mesh.warnings).toEqual(
      expect.arrayContaining([expect.stringMatching(/a connection from .* failed/)]),
    );
  });

  it('cannot be listened on without a certificate, and the error names the options', async () => {
    const node = mesh.node({ service: 'math', tls: { ca: ours.ca } });
    expect((await failureOf(node.listen())).rawMessage).toContain('`tls.cert` and `tls.key`');
  });
});
