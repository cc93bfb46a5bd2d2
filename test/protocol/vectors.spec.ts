/** The shared vectors hold for this implementation; the Python tests read the same file. */
import { describe, expect, it } from '@jest/globals';
import { JSON_CODEC } from '../../lib/protocol/codec.js';
import { encodeFrame, encodeFrames } from '../../lib/protocol/frame.js';
import { DEFAULT_WIRE_LIMITS, UNTRUSTED_LENGTH_FACTOR } from '../../lib/protocol/limits.js';
import { MeshError } from '../../lib/protocol/mesh-error.js';
import { isMeshErrorCode } from '../../lib/protocol/error-code.js';
import { peekPacket } from '../../lib/protocol/json-head.js';
import { packetKind } from '../../lib/protocol/packet.js';
import { meshErrorOf, recordingDecoder, VECTORS } from './support.js';
import type { Decoded, ErrorVector } from './support.js';

const { frames, sequences, errors, packets, errorWire, limits } = VECTORS;

/** Compared as text, which also tells the order of keys, an own `__proto__` and lone surrogates apart. */
function valuesOf(decoded: readonly Decoded[]): string[] {
  return decoded.map((one) => {
    if (!Buffer.isBuffer(one)) throw new Error(`a frame of ${one.declaredBytes} bytes was skipped`);
    return JSON.stringify(JSON_CODEC.decode(one));
  });
}

function decodeAll(hex: string, maxFrameBytes: number): Decoded[] {
  const { decoder, decoded } = recordingDecoder(maxFrameBytes);
  decoder.push(Buffer.from(hex, 'hex'));
  decoder.end();
  return decoded;
}

function ofStage(stage: ErrorVector['stage']): ErrorVector[] {
  return errors.filter((vector) => vector.stage === stage);
}

describe('Vectors of frames', () => {
  it.each(frames)('$name decodes to its value', ({ value, hex }) => {
    const decoded = decodeAll(hex, DEFAULT_WIRE_LIMITS.maxFrameBytes);
    expect(valuesOf(decoded)).toEqual([JSON.stringify(value)]);
  });

  it.each(frames.filter(({ text }) => text === undefined))(
    '$name is written as exactly these bytes',
    ({ value, hex }) => {
      expect(encodeFrame(JSON_CODEC.encode(value)).toString('hex')).toBe(hex);
    },
  );

  it.each(sequences)('$name goes both ways', ({ values, hex }) => {
    expect(encodeFrames(values.map((value) => JSON_CODEC.encode(value))).toString('hex')).toBe(hex);
    const decoded = decodeAll(hex, DEFAULT_WIRE_LIMITS.maxFrameBytes);
    expect(valuesOf(decoded)).toEqual(values.map((value) => JSON.stringify(value)));
  });

  it('A frame exactly as long as the limit passes', () => {
    const exact = frames.find(({ name }) => name === 'exactly as long as the limit');
    expect(valuesOf(decodeAll(exact!.hex, limits.maxFrameBytes))).toHaveLength(1);
  });

  it('The limits of the vectors are those of this decoder', () => {
    expect(limits.untrustedAboveBytes).toBe(limits.maxFrameBytes * UNTRUSTED_LENGTH_FACTOR);
  });
});

describe('Vectors of faults', () => {
  it('Every stage of a fault has vectors', () => {
    expect(new Set(errors.map(({ stage }) => stage))).toEqual(
      new Set(['payload', 'oversize', 'end', 'untrusted']),
    );
  });

  it.each(ofStage('payload'))('$name is an error of that one frame', ({ hex, error, then }) => {
    const decoded = decodeAll(hex, limits.maxFrameBytes);
    const [bad, ...rest] = decoded;
    expect(meshErrorOf(() => JSON_CODEC.decode(bad as Buffer)).code).toBe(error);
    expect(valuesOf(rest)).toEqual([JSON.stringify(then)]);
  });

  it.each(ofStage('oversize'))('$name is skipped and what follows arrives', (vector) => {
    const [skipped, ...rest] = decodeAll(vector.hex, limits.maxFrameBytes);
    if (skipped === undefined || Buffer.isBuffer(skipped)) throw new Error('the frame was not skipped');
    expect(skipped.declaredBytes).toBe(vector.declaredBytes);
    expect(peekPacket(skipped.head)).toEqual(vector.call);
    expect(valuesOf(rest)).toEqual([JSON.stringify(vector.then)]);
  });

  it.each(ofStage('end'))('$name is noticed at the end of the stream', ({ hex, error, before }) => {
    const { decoder, decoded } = recordingDecoder(limits.maxFrameBytes);
    decoder.push(Buffer.from(hex, 'hex'));
    expect(decoder.incomplete).toBe(true);
    expect(meshErrorOf(() => decoder.end()).code).toBe(error);
    expect(valuesOf(decoded)).toEqual(before === undefined ? [] : [JSON.stringify(before)]);
  });

  it.each(ofStage('untrusted'))('$name ends the decoding', ({ hex, error, before }) => {
    const { decoder, decoded } = recordingDecoder(limits.maxFrameBytes);
    expect(meshErrorOf(() => decoder.push(Buffer.from(hex, 'hex'))).code).toBe(error);
    decoder.push(encodeFrame('{}'));
    expect(valuesOf(decoded)).toEqual(before === undefined ? [] : [JSON.stringify(before)]);
  });
});

describe('Vectors of packets', () => {
  it.each(packets)('$name', ({ value, kind }) => {
    expect(packetKind(value) ?? null).toBe(kind);
  });
});

describe('Vectors of errors', () => {
  it.each(errorWire)('$name is read as stated', ({ wire, error }) => {
    const read = MeshError.fromWire(wire);
    const { code, rawMessage: message, delivery, details } = read ?? {};
    expect(read && { code, message, delivery, details }).toEqual(error ?? undefined);
  });

  it.each(errorWire.filter(({ error, decodeOnly }) => error !== null && decodeOnly !== true))(
    '$name is written as stated',
    ({ wire, error }) => {
      const { code, message, delivery, details } = error!;
      if (!isMeshErrorCode(code)) throw new Error(`${code} is no code`);
      expect(new MeshError(code, message, { delivery, details }).toWire()).toEqual(wire);
    },
  );
});
