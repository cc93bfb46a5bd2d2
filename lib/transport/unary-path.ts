/** The paths of plain HTTP/2, and what a request to one of them must look like. */
import type { IncomingHttpHeaders } from 'node:http2';
import { HEADER, headerOf } from '../protocol/headers.js';
import { MeshError } from '../protocol/mesh-error.js';
import { UnaryRefusal } from './unary-refusal.js';

/** What a request asks for. */
export type UnaryPath =
  | { readonly kind: 'health' }
  | { readonly kind: 'ready' }
  | { readonly kind: 'rpc' | 'events'; /** Percent-encoded. */ readonly name: string };

/** Which of the paths it is; `undefined` for any other. A query is ignored. */
export function unaryPathOf(headers: IncomingHttpHeaders): UnaryPath | undefined {
  const path = (headers[':path'] ?? '').split('?', 1)[0] ?? '';
  if (path === '/health') return { kind: 'health' };
  if (path === '/ready') return { kind: 'ready' };
  const [, kind, name] = /^\/(rpc|events)\/(.*)$/s.exec(path) ?? [];
  if (name === undefined) return undefined;
  return { kind: kind === 'rpc' ? 'rpc' : 'events', name };
}

/** Throws a `MeshError` (`UNIMPLEMENTED`, 405) for a method that the path does not take. */
export function checkMethod({ kind }: UnaryPath, headers: IncomingHttpHeaders): void {
  const takes = kind === 'rpc' || kind === 'events' ? ['POST'] : ['GET', 'HEAD'];
  const method = headers[':method'] ?? '';
  if (takes.includes(method)) return;
  throw new UnaryRefusal('UNIMPLEMENTED', `/${kind} takes ${takes.join(' or ')}, not ${method}`, {
    httpStatus: 405,
    headers: { allow: takes.join(', ') },
  });
}

/**
 * The route of a call or an event. Throws a `MeshError`: `INVALID_ARGUMENT` for a name that is missing or not percent-encoded,
 * and (415) for a body that says to be no JSON; `PERMISSION_DENIED` for a request of a web page, which any page could make a browser
 * send to a node on the same machine.
 */
export function routeOf(name: string, headers: IncomingHttpHeaders): string {
  if (headers.origin !== undefined) {
    const from = headers.origin.slice(0, 100);
    throw refused('PERMISSION_DENIED', `requests of web pages are not taken (the header origin is ${from})`);
  }
  const type = headers['content-type'];
  if (type !== undefined && !/^application\/json\s*(;|$)/i.test(type)) {
    throw new UnaryRefusal(
      'INVALID_ARGUMENT',
      `the header content-type must be application/json, not ${type.slice(0, 100)}`,
      { httpStatus: 415 },
    );
  }
  if (name === '')
    throw refused('INVALID_ARGUMENT', 'the path names no route: /rpc/{route} or /events/{route}');
  try {
    return decodeURIComponent(name);
  } catch {
    throw refused('INVALID_ARGUMENT', `the route ${name.slice(0, 100)} is not well-formed percent-encoding`);
  }
}

/** The budget that the caller gives, in ms. Throws a `MeshError` (`INVALID_ARGUMENT`) when it is no whole number. */
export function budgetOf(headers: IncomingHttpHeaders): number | undefined {
  const text = headerOf(headers, HEADER.timeout);
  if (text === undefined) return undefined;
  if (/^\d{1,10}$/.test(text)) return Number(text);
  throw refused(
    'INVALID_ARGUMENT',
    `the header ${HEADER.timeout} must be a whole number of milliseconds, not ${text.slice(0, 100)}`,
  );
}

function refused(code: 'INVALID_ARGUMENT' | 'PERMISSION_DENIED', message: string): MeshError {
  return new MeshError(code, message, { delivery: 'refused' });
}
