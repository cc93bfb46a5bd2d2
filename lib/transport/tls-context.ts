/** The TLS context of the dialling side: certificates are parsed once for all connections, and held in memory once. */
import { createSecureContext, type SecureContext } from 'node:tls';
import type { MeshTlsOptions } from './tls-options.js';

interface Made {
  readonly from: MeshTlsOptions;
  readonly context: SecureContext;
}

const made = new WeakMap<MeshTlsOptions, Made>();

/**
 * The context of these options. Whoever puts new certificates into the same object gets a new context with the next connection.
 * Throws what `node:tls` throws for options that cannot be used.
 */
export function dialContext(tls: MeshTlsOptions): SecureContext {
  const known = made.get(tls);
  if (known !== undefined && isSame(known.from, tls)) return known.context;
  const context = createSecureContext(tls);
  made.set(tls, { from: { ...tls }, context });
  return context;
}

function isSame(before: MeshTlsOptions, now: MeshTlsOptions): boolean {
  const names = Object.keys(now) as (keyof MeshTlsOptions)[];
  return (
    names.length === Object.keys(before).length &&
    names.every((name) => Object.hasOwn(before, name) && before[name] === now[name])
  );
}
