/** From a CPU profile to the time in each layer: self time, so that every microsecond is counted once. */

/** What of a CPU profile is read here; V8 gives more. */
export interface CpuProfile {
  readonly nodes: readonly ProfileNode[];
  /** The node of each sample. */
  readonly samples?: readonly number[] | undefined;
  /** Before each sample, in microseconds. */
  readonly timeDeltas?: readonly number[] | undefined;
}

interface ProfileNode {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string };
}

/** Where time goes, in the order of the table; the waiting is last. */
export const LAYERS = [
  'bench',
  'nest',
  'rxjs',
  'mesh-nest',
  'mesh-node',
  'mesh-transport',
  'mesh-protocol',
  'json',
  'http2',
  'node',
  'other',
  'gc',
  'native',
  'idle',
] as const;

/** One of {@link LAYERS}. */
export type Layer = (typeof LAYERS)[number];

/** Microseconds in each layer. */
export type LayerTimes = { readonly [layer in Layer]: number };

/** What has no script: V8's names for the time outside of JavaScript, and functions that are no part of a script. */
const OUTSIDE: { readonly [functionName: string]: Layer } = {
  '(program)': 'native',
  '(root)': 'native',
  '(idle)': 'idle',
  '(garbage collector)': 'gc',
  parse: 'json',
  stringify: 'json',
  utf8Write: 'json',
  utf8Slice: 'json',
  latin1Slice: 'json',
  runMicrotasks: 'node',
};

/** The first that matches the address of a script. */
const BY_ADDRESS: readonly (readonly [address: RegExp, layer: Layer])[] = [
  // JSON.parse and JSON.stringify have no frame of their own, and the codec does little else.
  [/\/nestjs-mesh\/dist\/protocol\/codec\.js$/, 'json'],
  [/\/nestjs-mesh\/dist\/nest\//, 'mesh-nest'],
  [/\/nestjs-mesh\/dist\/(node|routing|registry)\//, 'mesh-node'],
  [/\/nestjs-mesh\/dist\/transport\//, 'mesh-transport'],
  [/\/nestjs-mesh\/dist\/protocol\//, 'mesh-protocol'],
  [/\/node_modules\/rxjs\//, 'rxjs'],
  [/\/node_modules\/@nestjs\//, 'nest'],
  [/\/node_modules\//, 'other'],
  [/\/bench\/dist\//, 'bench'],
  [
    /^node:(internal\/http2|internal\/streams|internal\/stream_base|internal\/js_stream|net|_tls|stream)/,
    'http2',
  ],
  [/^node:/, 'node'],
];

/** The layer of a function. */
export function layerOf({ functionName, url }: ProfileNode['callFrame']): Layer {
  if (url === '') return OUTSIDE[functionName] ?? 'native';
  return BY_ADDRESS.find(([address]) => address.test(url))?.[1] ?? 'other';
}

/** The time in each layer, from the first sample to the last. */
export function layerTimes({ nodes, samples = [], timeDeltas = [] }: CpuProfile): LayerTimes {
  const layers = new Map(nodes.map(({ id, callFrame }) => [id, layerOf(callFrame)]));
  const times = Object.fromEntries(LAYERS.map((layer) => [layer, 0])) as { [layer in Layer]: number };
  for (const [at, node] of samples.entries()) {
    // A sample stands for the time until the next one.
    times[layers.get(node) ?? 'other'] += timeDeltas[at + 1] ?? 0;
  }
  return times;
}
