/** TLS of both sides, in Node's own words. */
import type { SecureContextOptions } from 'node:tls';

/** One set of options serves the listener and the dialler of a node. */
export interface MeshTlsOptions extends Pick<
  SecureContextOptions,
  'cert' | 'key' | 'ca' | 'pfx' | 'passphrase' | 'ciphers' | 'minVersion' | 'crl'
> {
  /** Ask peers that dial for a certificate signed by `ca` and refuse those without. @default false */
  readonly requestCert?: boolean;
  /** Refuse peers whose certificate does not verify. @default true */
  readonly rejectUnauthorized?: boolean;
  /** The name that the certificates of peers must carry, when it is not the host of their records. */
  readonly servername?: string;
}
