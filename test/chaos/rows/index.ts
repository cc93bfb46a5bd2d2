/** All rows, in the order of the table. */
import type { Row } from '../row.js';
import { events } from './events.js';
import { overload } from './overload.js';
import { partition } from './partition.js';
import { redisDown } from './redis-down.js';
import { rollingRestart } from './rolling-restart.js';
import { sigkill } from './sigkill.js';
import { sigstop } from './sigstop.js';
import { soak } from './soak.js';

export const ROWS: readonly Row[] = [
  rollingRestart,
  sigkill,
  sigstop,
  redisDown,
  partition,
  overload,
  events,
  soak,
];
