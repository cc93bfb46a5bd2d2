/** The conformance table: all rows, in the order of `docs/parity.md`. */
import type { Section } from './row.js';
import { BAD_PEERS } from './rows/bad-peers.js';
import { CALLER } from './rows/caller.js';
import { CONNECTION } from './rows/connection.js';
import { ENHANCERS } from './rows/enhancers.js';
import { ERRORS } from './rows/errors.js';
import { EVENTS } from './rows/events.js';
import { FILTERS } from './rows/filters.js';
import { HOOKS } from './rows/hooks.js';
import { HYBRID } from './rows/hybrid.js';
import { LIFECYCLE } from './rows/lifecycle.js';
import { NODES } from './rows/nodes.js';
import { PATTERNS } from './rows/patterns.js';
import { REGISTRATION } from './rows/registration.js';
import { RESULTS } from './rows/results.js';
import { SCOPES } from './rows/scopes.js';
import { SETUP } from './rows/setup.js';
import { STREAMS } from './rows/streams.js';

export const TABLE: readonly Section[] = [
  PATTERNS,
  REGISTRATION,
  RESULTS,
  ERRORS,
  FILTERS,
  EVENTS,
  CALLER,
  STREAMS,
  CONNECTION,
  BAD_PEERS,
  HOOKS,
  ENHANCERS,
  SCOPES,
  LIFECYCLE,
  HYBRID,
  SETUP,
  NODES,
];
