/**
 * Draining before everything else of a shutdown. Nest runs all `onModuleDestroy` hooks before it closes a server, on a signal and in
 * every hybrid application, so handlers would run on after the hooks have closed the databases that they need. The hooks of the module
 * nearest to the root run first, and within it those of the highest level: there the drain is put.
 */
import type { OnModuleDestroy } from '@nestjs/common';
import type { ModulesContainer } from '@nestjs/core';
import type { MeshNode } from '../node/mesh-node.js';

class DrainFirst implements OnModuleDestroy {
  constructor(private readonly node: MeshNode) {}

  /** Nest waits for it before it goes on. */
  async onModuleDestroy(): Promise<void> {
    await this.node.stopServing();
  }
}

/** Has the node drained before the `onModuleDestroy` hooks of the application run. Once, when all modules are there. */
export function drainFirst(node: MeshNode, modules: ModulesContainer): void {
  const [root] = [...modules.values()]
    .filter(({ isGlobal }) => !isGlobal)
    .toSorted((a, b) => a.distance - b.distance);
  if (root === undefined || root.providers.has(DrainFirst)) return;
  root.addProvider({ provide: DrainFirst, useValue: new DrainFirst(node) });
  const wrapper = root.providers.get(DrainFirst);
  if (wrapper !== undefined) wrapper.hierarchyLevel = Number.MAX_SAFE_INTEGER;
}
