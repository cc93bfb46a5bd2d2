/** Plots as SVG, drawn by Vega without a browser. */
import { writeFileSync } from 'node:fs';
import { parse, View } from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';

/** Colours that are told apart by most eyes; the floors are grey. */
const COLORS: { readonly [peer: string]: string } = {
  mesh: '#0072b2',
  'mesh, TLS': '#56b4e9',
  'Nest TCP': '#e69f00',
  'Nest gRPC': '#d55e00',
  gRPC: '#d55e00',
  'Nest NATS': '#cc79a7',
  'Nest Redis': '#882255',
  Moleculer: '#009e73',
  'bare http2 stream': '#888888',
  'bare TCP socket': '#bbbbbb',
};
const FURTHER_COLOR = '#999933';

/** Colours for lines that are no peers. */
export const PALETTE = [
  '#0072b2',
  '#d55e00',
  '#009e73',
  '#cc79a7',
  '#e69f00',
  '#56b4e9',
  '#882255',
  '#999933',
];

/** The colour of a peer, by its label: the same in every plot. */
export function colorOf(label: string): string {
  return COLORS[label] ?? FURTHER_COLOR;
}

/** A white ground of its own, so that the words can be read on light pages and on dark ones. */
const LOOK = {
  background: 'white',
  padding: 16,
  font: 'system-ui, sans-serif',
  axis: { labelFontSize: 12, titleFontSize: 12, titleFontWeight: 'normal', labelLimit: 0 },
  legend: { labelFontSize: 12, titleFontSize: 12, labelLimit: 0 },
  header: { labelFontSize: 12, titleFontSize: 12 },
  title: { fontSize: 14, anchor: 'start', subtitleFontSize: 12, subtitleColor: '#555555' },
  view: { stroke: null },
} as const;

/** Draws a Vega-Lite specification into an SVG file. The same specification gives the same file. */
export async function writePlot(file: string, spec: TopLevelSpec): Promise<void> {
  const { padding, background, ...config } = LOOK;
  const { spec: drawing } = compile({ padding, background, ...spec, config: { ...config, ...spec.config } });
  const view = new View(parse(drawing), { renderer: 'none' });
  const svg = await view.toSVG();
  view.finalize();
  writeFileSync(file, `${svg}\n`);
}
