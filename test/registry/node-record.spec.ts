/** The record on the wire, and everything that must not be taken for one. */
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { parseNodeRecord, toRecordJson } from '../../lib/registry/node-record.js';
import { newRecord } from './registry-fixture.js';

const id = '0a1b2c3d-0000-4000-8000-00000000000f';
const place = { service: 'orders', id };
const wire = { id, service_name: 'orders', host: '10.0.0.7', port: 4000, metadata: { zone: 'a' } };

function faultOf(fields: object): string | undefined {
  return parseNodeRecord(JSON.stringify({ ...wire, ...fields }), place).fault;
}

describe('a node record', () => {
  it('has exactly the members of the protocol, in its order', () => {
    const record = newRecord({ id, host: '10.0.0.7', metadata: { zone: 'a' } });
    expect(toRecordJson(record)).toBe(
      `{"id":"${id}","service_name":"orders","host":"10.0.0.7","port":4000,"metadata":{"zone":"a"}}`,
    );
  });

  it('comes back from the wire as it was written, whatever it holds', () => {
    const records = fc.record({
      id: fc.uuid(),
      service: fc.constantFrom('orders', '@scope/name+x', 'a.b-c_d'),
      host: fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain()),
      port: fc.integer({ min: 1, max: 65_535 }),
      metadata: fc.dictionary(fc.string(), fc.jsonValue()),
    });
    fc.assert(
      fc.property(records, (record) => {
        const { record: read } = parseNodeRecord(toRecordJson(record), record);
        expect(JSON.stringify(read)).toBe(JSON.stringify(record));
      }),
    );
  });

  it('never makes the parser throw, whatever somebody wrote', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.json().map((json) => json.slice(1)),
        ),
        (text) => {
          expect(typeof parseNodeRecord(text, place).fault).toBe('string');
        },
      ),
    );
  });

  it.each([
    ['missing', undefined],
    ['null', null],
    ['a list', ['zone']],
    ['a string', 'zone'],
  ])('has empty metadata when they are %s', (_name, metadata) => {
    expect(parseNodeRecord(JSON.stringify({ ...wire, metadata }), place).record?.metadata).toEqual({});
  });

  it('may have members that this version does not know', () => {
    expect(faultOf({ weight: 3 })).toBeUndefined();
  });

  it.each([
    ['another id than its key', { id: '0a1b2c3d-0000-4000-8000-00000000000e' }, /its id .*0e" is not the id/],
    ['another service than its key', { service_name: 'billing' }, /its service_name "billing" is not/],
    ['no service', { service_name: undefined }, /its service_name undefined/],
    ['the port 0', { port: 0 }, /its port 0 is not an integer from 1 to 65535/],
    ['the port 70000', { port: 70_000 }, /its port 70000/],
    ['a port that is text', { port: '4000' }, /its port "4000"/],
    ['a port that is no whole number', { port: 4000.5 }, /its port 4000.5/],
    ['an empty host', { host: '' }, /its host ""/],
    ['a host with a space', { host: 'a b' }, /spaces or control characters/],
    ['a host with a line break', { host: 'a\r\nx-evil: 1' }, /spaces or control characters/],
    ['a host with a NUL', { host: 'a\0' }, /spaces or control characters/],
    ['a host of 300 characters', { host: 'a'.repeat(300) }, /longer than 255/],
    ['no host', { host: undefined }, /its host undefined/],
  ])('is refused with %s, and the reason names the value', (_name, fields, reason) => {
    expect(faultOf(fields)).toMatch(reason);
  });

  it('is refused when the id of its key is no UUID', () => {
    const key = { service: 'orders', id: 'node-1' };
    expect(parseNodeRecord(JSON.stringify({ ...wire, id: 'node-1' }), key).fault).toMatch(
      /"node-1" is not a UUID/,
    );
  });

  it('is refused when it is not JSON, with no more of it in the reason than a line can hold', () => {
    expect(parseNodeRecord('{"id":', place).fault).toBe('it is not JSON: {"id":');
    expect(parseNodeRecord('x'.repeat(10_000), place).fault?.length).toBeLessThan(100);
    expect(parseNodeRecord('[]', place).fault).toMatch(/not a JSON object/);
  });
});
