/**
 * Zone preference: calls stay with the nodes of their own zone as long as those are not much slower than the others. Who spills over is
 * decided for each call, by the node that would be taken on either side, so the share that leaves grows with the load instead of
 * jumping. How many calls of this client are open says little here: the other zone has few of them, however busy it is with its own.
 *
 * Sources: "locality weighted load balancing" and zone aware routing of Envoy; here load is measured instead of planned.
 */
import type { Candidate, Picker, PickerFactory, PickRequest } from './picker.js';
import { REAL_SOURCES, type PickerSources } from './p2c.js';

/** A node of the own zone may take so many times as long as one elsewhere, by default. */
const SPILL_OVER = 2;
/** Below this, differences are noise, and not worth leaving the zone for. */
const LEAST_MS = 5;

class ZonePicker<Node extends Candidate> implements Picker<Node> {
  constructor(
    readonly all: Picker<Node>,
    readonly near: Picker<Node>,
    readonly far: Picker<Node>,
    private readonly spillOver: number,
    private readonly sources: Pick<PickerSources, 'now'>,
  ) {}

  pick(request: PickRequest): Node | undefined {
    // A key means the same node for everybody, wherever they are.
    if (request.key !== undefined) return this.all.pick(request);
    const near = this.near.pick(request);
    if (near === undefined) return this.all.pick(request);
    const far = this.far.pick(request);
    if (far === undefined) return near;
    const now = this.sources.now();
    // Of the few calls that go there, the other zone would have few peaks: the mean compares.
    const nearMs = near.load.meanMs(now);
    const farMs = far.load.meanMs(now);
    if (nearMs > 0 && farMs > 0) return nearMs > this.spillOver * Math.max(farMs, LEAST_MS) ? far : near;
    // Of a node that was never called the latency is not known.
    return near.load.open + 1 > this.spillOver * (far.load.open + 1) ? far : near;
  }
}

/** How {@link preferZone} decides. */
export interface ZoneOptions {
  /** A node of the own zone may take so many times as long as one elsewhere before calls leave the zone. @default 2 */
  readonly spillOver?: number | undefined;
  readonly sources?: Pick<PickerSources, 'now'> | undefined;
}

/** Prefers the nodes of `zone`, each chosen by `picker`. */
export function preferZone(
  zone: string,
  picker: PickerFactory,
  { spillOver = SPILL_OVER, sources = REAL_SOURCES }: ZoneOptions = {},
): PickerFactory {
  return <Node extends Candidate>(
    candidates: readonly Node[],
    previous: Picker<Node> | undefined,
  ): Picker<Node> => {
    const before = previous instanceof ZonePicker ? (previous as ZonePicker<Node>) : undefined;
    const near = candidates.filter((candidate) => candidate.zone === zone);
    const far = candidates.filter((candidate) => candidate.zone !== zone);
    return new ZonePicker(
      picker(candidates, before?.all),
      picker(near, before?.near),
      picker(far, before?.far),
      spillOver,
      sources,
    );
  };
}
