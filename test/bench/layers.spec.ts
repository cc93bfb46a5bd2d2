/** The profile of a call counts every microsecond once, in the layer whose code was running. */
import { describe, expect, it } from '@jest/globals';
import { LAYERS, layerOf, layerTimes, type Layer } from '../../bench/src/profile/layers.js';

const BENCH = 'file:///somewhere/bench';
const LIBRARY = `${BENCH}/node_modules/nestjs-mesh/dist`;

/** A script of each layer that has scripts. */
const SCRIPTS: readonly (readonly [url: string, layer: Layer])[] = [
  [`${BENCH}/dist/cases/calls.js`, 'bench'],
  [`${BENCH}/node_modules/@nestjs/microservices/server/server.js`, 'nest'],
  [`${BENCH}/node_modules/rxjs/dist/cjs/internal/Observable.js`, 'rxjs'],
  [`${LIBRARY}/nest/mesh.server.js`, 'mesh-nest'],
  [`${LIBRARY}/node/pending.js`, 'mesh-node'],
  [`${LIBRARY}/routing/round-robin.js`, 'mesh-node'],
  [`${LIBRARY}/transport/packet-channel.js`, 'mesh-transport'],
  [`${LIBRARY}/protocol/frame.js`, 'mesh-protocol'],
  [`${LIBRARY}/protocol/codec.js`, 'json'],
  ['node:internal/http2/core', 'http2'],
  ['node:net', 'http2'],
  ['node:internal/process/task_queues', 'node'],
  [`${BENCH}/node_modules/ioredis/built/Pipeline.js`, 'other'],
];

const node = (
  id: number,
  functionName: string,
  url = '',
): object & Parameters<typeof layerTimes>[0]['nodes'][0] => ({
  id,
  callFrame: { functionName, url },
});

describe('The layers of a profile', () => {
  it.each(SCRIPTS)('%s belongs to "%s"', (url, layer) => {
    expect(layerOf({ functionName: 'any', url })).toBe(layer);
  });

  it('tell native code, the collection of garbage and waiting apart', () => {
    const layers = [
      '(program)',
      'writeBuffer',
      '(garbage collector)',
      '(idle)',
      'utf8Write',
      'runMicrotasks',
    ].map((functionName) => layerOf({ functionName, url: '' }));
    expect(layers).toEqual(['native', 'native', 'gc', 'idle', 'json', 'node']);
  });

  it('give each sample the time until the next one, and count nothing twice', () => {
    const times = layerTimes({
      nodes: [node(1, '(idle)'), node(2, 'send', `${LIBRARY}/transport/frame-stream.js`), node(3, 'parse')],
      samples: [1, 2, 2, 3, 1],
      timeDeltas: [900, 10, 20, 30, 40],
    });
    expect(times).toMatchObject({ idle: 10, 'mesh-transport': 50, json: 40, nest: 0 });
    expect(LAYERS.reduce((sum, layer) => sum + times[layer], 0)).toBe(100);
  });

  it('are nothing for a profile without samples', () => {
    expect(LAYERS.filter((layer) => layerTimes({ nodes: [] })[layer] !== 0)).toEqual([]);
  });
});
