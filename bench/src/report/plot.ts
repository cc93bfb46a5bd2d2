/** Plots as SVG, drawn by Vega without a browser. */
import { writeFileSync } from 'node:fs';
import { parse, View } from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';

/** Colours that are told apart by most eyes, in the order of the peers. */
export const PALETTE = [
  '#0072b2',
  '#56b4e9',
  '#e69f00',
  '#d55e00',
  '#cc79a7',
  '#009e73',
  '#999933',
  '#882255',
  '#666666',
  '#bbbbbb',
];

/** A white ground of its own, so that the words can be read on light pages and on dark ones. */
const LOOK = {
  background: 'white',
  padding: 16,
  font: 'system-ui, sans-serif',
  axis: { labelFontSize: 12, titleFontSize: 12, titleFontWeight: 'normal' },
  legend: { labelFontSize: 12, titleFontSize: 12 },
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
