/** The TLS context of the dialling side: one for as long as the options stay what they are. */
import { describe, expect, it } from '@jest/globals';
import { dialContext } from '../../lib/transport/tls-context.js';
import type { MeshTlsOptions } from '../../lib/transport/tls-options.js';
import { makeCertificates } from '../support/certificates.js';

const ours = makeCertificates();

describe('The TLS context for dialling', () => {
  it('is made once for all connections with the same options', () => {
    const tls: MeshTlsOptions = { ...ours };
    expect(dialContext(tls)).toBe(dialContext(tls));
  });

  it('is made anew when another certificate was put into the same options', () => {
    const tls: { -readonly [Name in keyof MeshTlsOptions]: MeshTlsOptions[Name] } = { ...ours };
    const before = dialContext(tls);
    Object.assign(tls, makeCertificates());
    const after = dialContext(tls);
    expect(after).not.toBe(before);
    delete tls.ca;
    expect(dialContext(tls)).not.toBe(after);
    expect(dialContext(tls)).toBe(dialContext(tls));
  });

  it('tells what is wrong with options that cannot be used, each time', () => {
    const tls: MeshTlsOptions = { cert: 'no certificate' };
    expect(() => dialContext(tls)).toThrow('no start line');
    expect(() => dialContext(tls)).toThrow('no start line');
  });
});
