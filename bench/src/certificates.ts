/** Certificates for the peers with TLS: a CA of its own, and a leaf for 127.0.0.1 that serves both sides. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Writes `ca.pem`, `cert.pem` and `key.pem` into a folder, with openssl. */
export function makeCertificates(folder: string): void {
  const openssl = (text: string): void =>
    void execFileSync('openssl', text.split(' '), { cwd: folder, stdio: 'pipe' });
  const key = '-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes';
  writeFileSync(join(folder, 'leaf.ext'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n');
  openssl(`req -x509 ${key} -subj /CN=bench -days 2 -keyout ca-key.pem -out ca.pem`);
  openssl(`req -new ${key} -subj /CN=localhost -keyout key.pem -out leaf.csr`);
  openssl(
    'x509 -req -in leaf.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 -extfile leaf.ext -out cert.pem',
  );
}
