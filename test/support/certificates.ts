/** Certificates for tests: a CA of its own, and a leaf for localhost and 127.0.0.1 that serves both sides. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** PEM texts. */
export interface Certificates {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** The same as files, for programs that want paths. */
export interface CertificateFiles {
  readonly pem: Certificates;
  readonly files: Certificates;
  /** Deletes the files. */
  remove(): void;
}

const EXTENSIONS = 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n';
const EC_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** Makes a CA and a leaf with openssl, in a temporary folder. */
export function certificateFiles(): CertificateFiles {
  const folder = mkdtempSync(join(tmpdir(), 'mesh-tls-'));
  const path = (name: string): string => join(folder, name);
  const openssl = (...args: string[]): void =>
    void execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  const files = { ca: path('ca.pem'), cert: path('cert.pem'), key: path('key.pem') };
  openssl(
    'req',
    '-x509',
    ...EC_KEY,
    '-subj',
    '/CN=mesh test CA',
    '-days',
    '2',
    '-keyout',
    path('ca-key.pem'),
    '-out',
    files.ca,
  );
  openssl('req', '-new', ...EC_KEY, '-subj', '/CN=localhost', '-keyout', files.key, '-out', path('leaf.csr'));
  writeFileSync(path('leaf.ext'), EXTENSIONS);
  openssl(
    ...[
      'x509',
      '-req',
      '-in',
      path('leaf.csr'),
      '-CA',
      files.ca,
      '-CAkey',
      path('ca-key.pem'),
      '-CAcreateserial',
    ],
    ...['-days', '2', '-extfile', path('leaf.ext'), '-out', files.cert],
  );
  const read = (file: string): string => readFileSync(file, 'utf8');
  const pem = { ca: read(files.ca), cert: read(files.cert), key: read(files.key) };
  return { pem, files, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** The PEM texts alone. */
export function makeCertificates(): Certificates {
  const { pem, remove } = certificateFiles();
  remove();
  return pem;
}
