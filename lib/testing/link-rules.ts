/** Which faults hold between whom, by the names that a test has given. */
import { MeshError } from '../protocol/mesh-error.js';
import type { FlowFaults } from './flow.js';

/** A node of the test mesh, by all the names that tests may use for it. */
export interface Party {
  /** Its service and a number: `orders-1`. */
  readonly name: string;
  readonly service: string;
  readonly nodeId: string;
  /** The host of its record: `orders-1.test`. */
  readonly host: string;
}

/** Stands for every node. */
export const EVERYBODY = '*';

/** True when `who` names this node: by its service, its name, its id, or with everybody else. */
export function names(who: string, { name, service, nodeId }: Party): boolean {
  return who === EVERYBODY || who === service || who === name || who === nodeId;
}

/** What is wrong between two nodes, in one direction. */
export interface LinkFaults extends FlowFaults {
  /** Nobody takes new connections. */
  readonly refused: boolean;
}

const NO_FAULTS: LinkFaults = { dropped: false, delayMs: 0, bytesPerSecond: Infinity, refused: false };

interface Rule {
  readonly from: string;
  readonly to: string;
  readonly faults: LinkFaults;
}

export class LinkRules {
  private readonly rules = new Map<string, Rule>();

  /** Adds to the faults from one to the other. */
  add(from: string, to: string, faults: Partial<LinkFaults>): void {
    const key = keyOf(from, to);
    const before = this.rules.get(key)?.faults ?? NO_FAULTS;
    this.rules.set(key, { from, to, faults: { ...before, ...faults } });
  }

  remove(from: string, to: string): void {
    this.rules.delete(keyOf(from, to));
  }

  clear(): void {
    this.rules.clear();
  }

  /** All that holds from one node to the other: of several rules the worst. */
  between(from: Party, to: Party): LinkFaults {
    let found = NO_FAULTS;
    for (const { from: source, to: target, faults } of this.rules.values()) {
      if (names(source, from) && names(target, to)) found = worst(found, faults);
    }
    return found;
  }
}

/** Which nodes the registry has trouble with. */
export class RegistryRules {
  private readonly lost = new Set<string>();
  private readonly hidden = new Set<string>();

  lose(who: string): void {
    this.lost.add(who);
  }

  hide(who: string): void {
    this.hidden.add(who);
  }

  clear(): void {
    this.lost.clear();
    this.hidden.clear();
  }

  /** True when the node cannot reach the registry. */
  hasLost(party: Party): boolean {
    return [...this.lost].some((who) => names(who, party));
  }

  /** True when the registry does not list the node. */
  hides(party: Party): boolean {
    return [...this.hidden].some((who) => names(who, party));
  }
}

function worst(left: LinkFaults, right: LinkFaults): LinkFaults {
  return {
    dropped: left.dropped || right.dropped,
    delayMs: Math.max(left.delayMs, right.delayMs),
    bytesPerSecond: Math.min(left.bytesPerSecond, right.bytesPerSecond),
    refused: left.refused || right.refused,
  };
}

function keyOf(from: string, to: string): string {
  return JSON.stringify([from, to]);
}

/** Refuses a number that is no duration, no rate. */
export function checkAmount(what: string, value: number): number {
  if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value;
  throw new MeshError('INVALID_ARGUMENT', `${what} must be a number from 0, not ${String(value)}`);
}
