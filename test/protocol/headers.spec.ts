/** Header names, and metadata that travels as headers. */
import { connect, createServer } from 'node:http2';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ClientHttp2Session, Http2Server, IncomingHttpHeaders } from 'node:http2';
import { HEADER, headerOf, metadataFault, metadataOf } from '../../lib/protocol/headers.js';

describe('headerOf', () => {
  it.each<[unknown, string | undefined]>([
    ['orders', 'orders'],
    [['first', 'second'], 'first'],
    [200, '200'],
    [0, '0'],
    ['', undefined],
    [[], undefined],
    [[''], undefined],
    [undefined, undefined],
  ])('of %p is %p', (value, expected) => {
    expect(headerOf({ 'x-service-name': value as string }, HEADER.serviceName)).toBe(expected);
  });
});

describe('metadataOf', () => {
  it("leaves out pseudo-headers, HTTP's own and the mesh's own, and keeps every other header", () => {
    const own = Object.fromEntries(Object.values(HEADER).map((name) => [name, 'x']));
    const headers = {
      ':method': 'POST',
      ':path': '/channel',
      ':status': 200,
      host: 'a',
      te: 'trailers',
      'content-type': 'application/json',
      'content-length': '3',
      'accept-encoding': 'gzip',
      ...own,
      authorization: 'Bearer x',
      traceparent: '00-1-2-3',
      'x-tenant': '',
      'set-cookie': ['a', 'b'],
      missing: undefined,
    };
    expect(metadataOf(headers)).toEqual({
      authorization: 'Bearer x',
      traceparent: '00-1-2-3',
      'x-tenant': '',
      'set-cookie': 'a, b',
    });
  });

  it('leaves __proto__ out and pollutes nothing', () => {
    const headers = JSON.parse('{"__proto__":"x","constructor":"y"}') as Record<string, string>;
    const metadata = metadataOf(headers);
    expect(Object.entries(metadata)).toEqual([['constructor', 'y']]);
    expect(Object.getPrototypeOf(metadata)).toBe(Object.prototype);
  });
});

const FINE: [string, string][] = [
  ['x-tenant', 'acme'],
  ['trace_id', 'a b'],
  ["a!#$%&'*+.^_`|~-9", 'x'],
  ['x', ''],
  ['x', 'tab\tinside'],
  ['authorization', 'Bearer x'],
  ['x', '!~'],
];

const FAULTY: [string, unknown, string][] = [
  ['X-Tenant', 'a', 'header name'],
  ['', 'a', 'header name'],
  [':path', 'a', 'header name'],
  ['a b', 'a', 'header name'],
  ['a\r\nb', 'a', 'header name'],
  ['é', 'a', 'header name'],
  ...Object.values(HEADER).map((name): [string, string, string] => [name, 'a', 'reserved']),
  ['host', 'a', 'reserved'],
  ['content-length', '5', 'reserved'],
  ['connection', 'close', 'reserved'],
  ['keep-alive', 'a', 'reserved'],
  ['proxy-connection', 'a', 'reserved'],
  ['transfer-encoding', 'chunked', 'reserved'],
  ['upgrade', 'a', 'reserved'],
  ['http2-settings', 'a', 'reserved'],
  ['te', 'a', 'reserved'],
  ['__proto__', 'a', 'reserved'],
  ['x', 'é', 'printable ASCII'],
  ['x', 'a\r\nb: c', 'printable ASCII'],
  ['x', 'a\0', 'printable ASCII'],
  ['x', '\u007f', 'printable ASCII'],
  ['x', 1, 'printable ASCII'],
  ['x', undefined, 'printable ASCII'],
  ['x', ' a', 'white space'],
  ['x', 'a\t', 'white space'],
  ['x', ' ', 'white space'],
];

function single(name: string, value: unknown): Record<string, string> {
  return Object.fromEntries([[name, value as string]]);
}

describe('metadataFault', () => {
  it.each(FINE)('finds none in %p: %p', (name, value) => {
    expect(metadataFault(single(name, value))).toBeUndefined();
  });

  it.each(FAULTY)('names the key of %p: %p and the reason', (name, value, reason) => {
    const message = metadataFault({ fine: 'yes', ...single(name, value) });
    expect(message).toContain(reason);
    expect(message).toContain(JSON.stringify(name));
    expect(message).not.toContain('\n');
  });
});

describe('Metadata without a fault', () => {
  let server: Http2Server;
  let client: ClientHttp2Session;

  beforeAll(async () => {
    server = createServer();
    server.on('stream', (stream, headers) => {
      stream.respond({ ':status': 200 });
      stream.end(JSON.stringify(metadataOf(headers)));
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    client = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  });

  afterAll(async () => {
    client.close();
    const closed = once(server, 'close');
    server.close();
    await closed;
  });

  it.each(FINE)('arrives over HTTP/2 as it was sent: %p: %p', async (name, value) => {
    const stream = client.request({ ':method': 'POST', ':path': '/channel', ...single(name, value) });
    const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders & { ':status'?: number }];
    expect(headers[':status']).toBe(200);
    stream.setEncoding('utf8');
    let body = '';
    for await (const part of stream) body += String(part);
    expect(JSON.parse(body)).toEqual(single(name, value));
  });
});
