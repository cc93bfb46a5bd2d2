/** Checks of single options. Each gives the value to work with, and notes what is wrong with the one that was given. */
import { isIP } from 'node:net';
import { MAX_DECLARABLE_BYTES } from '../protocol/frame.js';
import { DEFAULT_WIRE_LIMITS, type WireLimits } from '../protocol/limits.js';
import { MeshError } from '../protocol/mesh-error.js';
import { checkServiceName } from '../registry/service-name.js';
import { MESH_DEFAULTS, type MeshOptions, type ResolvedOptions } from './mesh-options.js';

/** The longest delay that a timer of Node takes. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Collects faults, so that a user mends them all in one go. */
export class OptionChecks {
  /** What is wrong so far, one sentence each. */
  readonly faults: string[] = [];

  fault(message: string): void {
    this.faults.push(message);
  }

  /** Options with names of their own inside. */
  group<T extends object>(name: string, value: T | undefined, known: readonly string[]): Partial<T> {
    if (value === undefined) return {};
    if (!isObject(value)) {
      this.fault(`${name} must be an object, not ${show(value)}`);
      return {};
    }
    for (const inner of Object.keys(value)) {
      if (!known.includes(inner)) this.fault(`${name}.${inner} is not an option`);
    }
    return value;
  }

  duration(name: string, value: number | undefined, otherwise: number, least = 0): number {
    if (value === undefined) return otherwise;
    if (typeof value !== 'number' || !Number.isFinite(value) || value < least || value > MAX_TIMER_MS) {
      this.fault(
        `${name} must be a number of milliseconds from ${least} to ${MAX_TIMER_MS}, not ${show(value)}`,
      );
      return otherwise;
    }
    return value;
  }

  /** Any number between two others. */
  number(
    name: string,
    value: number | undefined,
    otherwise: number,
    least: number,
    most = Number.MAX_SAFE_INTEGER,
  ): number {
    if (value === undefined) return otherwise;
    if (typeof value === 'number' && value >= least && value <= most) return value;
    this.fault(`${name} must be a number from ${least} to ${most}, not ${show(value)}`);
    return otherwise;
  }

  /** A whole number of at least 1. */
  count(name: string, value: number | undefined, otherwise: number, least = 1): number {
    if (value === undefined) return otherwise;
    if (!Number.isSafeInteger(value) || value < least) {
      this.fault(`${name} must be a whole number of at least ${least}, not ${show(value)}`);
      return otherwise;
    }
    return value;
  }

  /** How many of the nodes; `Infinity`: all. */
  subsetSize(name: string, value: number | undefined, otherwise: number): number {
    if (value === undefined) return otherwise;
    if (value === Infinity || value === 0) return Infinity;
    if (!Number.isSafeInteger(value) || value < 0) {
      this.fault(
        `${name} must be a whole number of nodes, or 0 (or Infinity) for all of them, not ${show(value)}`,
      );
      return otherwise;
    }
    return value;
  }

  bytes(name: string, value: number | undefined, otherwise: number): number {
    if (value === undefined) return otherwise;
    if (!Number.isSafeInteger(value) || value < 0 || value > MAX_DECLARABLE_BYTES) {
      this.fault(
        `${name} must be a whole number of bytes from 0 to ${MAX_DECLARABLE_BYTES}, not ${show(value)}`,
      );
      return otherwise;
    }
    return value;
  }

  boolean(name: string, value: boolean | undefined, otherwise: boolean): boolean {
    if (value === undefined || typeof value === 'boolean') return value ?? otherwise;
    this.fault(`${name} must be true or false, not ${show(value)}`);
    return otherwise;
  }

  /** One of a few words. */
  oneOf<Word extends string>(
    name: string,
    value: Word | undefined,
    words: readonly Word[],
    otherwise: Word,
  ): Word {
    if (value === undefined || words.includes(value)) return value ?? otherwise;
    const known = words.map((word) => `'${word}'`).join(' or ');
    this.fault(`${name} must be ${known}, not ${show(value)}`);
    return otherwise;
  }

  port(name: string, value: number | undefined, otherwise: number, least: number): number {
    if (value === undefined) return otherwise;
    if (!Number.isInteger(value) || value < least || value > 65_535) {
      this.fault(`${name} must be a whole number from ${least} to 65535, not ${show(value)}`);
      return otherwise;
    }
    return value;
  }

  host(name: string, value: string | undefined, otherwise: string): string {
    if (value === undefined) return otherwise;
    if (
      typeof value !== 'string' ||
      (isIP(value) === 0 && !/^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9.])?$/.test(value))
    ) {
      this.fault(`${name} must be an IP address or a host name without a port, not ${show(value)}`);
      return otherwise;
    }
    return value;
  }

  registry(value: MeshOptions['registry']): ResolvedOptions['registry'] {
    if (value === undefined) return MESH_DEFAULTS.registry;
    if (typeof value === 'object' && value !== null && typeof value.watch === 'function') return value;
    if (typeof value !== 'string' || !/^(rediss?|file|memory):/.test(value)) {
      this.fault(
        `registry must be a URL that begins with redis://, rediss://, file: or memory:, not ${show(value)}`,
      );
      return MESH_DEFAULTS.registry;
    }
    return value;
  }

  /** Options that mean nothing beside another one; `why` is how that one is set. */
  needless(why: string, options: object, names: readonly string[]): void {
    const given = names.filter((name) => (options as Record<string, unknown>)[name] !== undefined);
    if (given.length > 0)
      this.fault(`${given.join(', ')} cannot be set together with ${why}: such a node opens no port`);
  }

  services(name: string, value: readonly string[] | undefined): readonly string[] {
    if (value === undefined) return [];
    if (!Array.isArray(value)) {
      this.fault(`${name} must be an array of names of services, not ${show(value)}`);
      return [];
    }
    const names = value as readonly string[];
    for (const service of new Set(names)) {
      const fault = checkServiceName(service);
      if (fault !== undefined) this.fault(`${name}: ${fault}`);
    }
    return [...new Set(names)];
  }

  json(name: string, value: unknown): void {
    try {
      if (typeof value === 'object' && value !== null && !Array.isArray(value) && JSON.stringify(value))
        return;
    } catch {
      // Said below.
    }
    this.fault(`${name} must be a JSON object, not ${show(value)}`);
  }

  limits(given: Partial<WireLimits>): WireLimits {
    const limits: Record<string, number> = { ...DEFAULT_WIRE_LIMITS };
    for (const [name, value] of Object.entries(given)) {
      const isTime = name === 'incompleteFrameTimeoutMs';
      const least = isTime ? 0 : 1;
      const most = isTime ? MAX_TIMER_MS : MAX_DECLARABLE_BYTES;
      if (value === undefined || !Object.hasOwn(DEFAULT_WIRE_LIMITS, name)) continue;
      if (!Number.isSafeInteger(value) || value < least || value > most) {
        this.fault(`limits.${name} must be a whole number from ${least} to ${most}, not ${show(value)}`);
      } else limits[name] = value;
    }
    return limits as unknown as WireLimits;
  }

  done(): void {
    if (this.faults.length === 0) return;
    throw new MeshError(
      'INVALID_ARGUMENT',
      `the mesh options are not valid:\n- ${this.faults.join('\n- ')}`,
      {
        delivery: 'not-sent',
        details: { faults: this.faults },
      },
    );
  }
}

/** True for what may hold options. */
export function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** True for what has the methods of a `MeshLogger`. */
export function isLogger(value: unknown): boolean {
  if (typeof value !== 'object' && typeof value !== 'function') return false;
  const methods = value as Record<string, unknown> | null;
  return ['log', 'warn', 'error', 'debug'].every((name) => typeof methods?.[name] === 'function');
}

const SHOWN_CHARACTERS = 60;

/** A value as it stands in the words of a fault. */
export function show(value: unknown): string {
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'number') return String(value);
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch {
    // Cycles and BigInts.
  }
  text ??= String(value);
  return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
}
