/** Turns what ioredis and Redis report into a `MeshError`, without ever passing a password on. */
import type { MeshErrorCode } from '../../protocol/error-code.js';
import { MeshError } from '../../protocol/mesh-error.js';

const REFUSED_PASSWORD = /^(NOAUTH|WRONGPASS)\b|invalid password|invalid username-password|AUTH failed/i;

/**
 * The failure to reach Redis at `url`, with what mends it. The error of ioredis is not kept as the cause: it carries the
 * command that failed, and with AUTH or HELLO that is the password.
 */
export function connectError(url: string, error: unknown): MeshError {
  const reason = reasonOf(error);
  if (REFUSED_PASSWORD.test(reason)) {
    return new MeshError(
      'UNAUTHENTICATED',
      `the registry ${url} refused the user name or password (${reason}); ` +
        `give the right one in the \`registry\` option (redis://USER:PASSWORD@HOST:PORT) or the \`redis\` option`,
      { delivery: 'not-sent', details: { reason } },
    );
  }
  return new MeshError(
    'UNAVAILABLE',
    `cannot reach the registry ${url}: ${reason}; ` +
      `start Redis, or set the \`registry\` option (\`file:DIR\` needs no server)`,
    { delivery: 'not-sent', details: { reason } },
  );
}

/** The failure of a command on a connection that stands. */
export function commandError(url: string, error: unknown): MeshError {
  if (MeshError.is(error)) return error;
  const reason = reasonOf(error);
  let code: MeshErrorCode = 'UNAVAILABLE';
  if (REFUSED_PASSWORD.test(reason)) code = 'UNAUTHENTICATED';
  else if (/^NOPERM\b/.test(reason)) code = 'PERMISSION_DENIED';
  return new MeshError(code, `the registry ${url} failed: ${reason}`, {
    delivery: 'not-sent',
    details: { reason },
  });
}

/** The words of an error in one line; the real cause where ioredis or Node wraps it. */
export function reasonOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return String(error);
  const { message, code, errors, lastNodeError } = error as Readonly<Record<string, unknown>>;
  const words = typeof message === 'string' ? message : '';
  if (lastNodeError !== undefined && lastNodeError !== null) return `${words} ${reasonOf(lastNodeError)}`;
  if (words !== '') return words;
  // A name with several addresses fails with an AggregateError, whose own message is empty.
  if (Array.isArray(errors) && errors.length > 0) return errors.map((one) => reasonOf(one)).join(', ');
  return typeof code === 'string' ? code : 'unknown error';
}
