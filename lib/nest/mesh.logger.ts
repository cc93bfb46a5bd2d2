/** Nest's logger, as the node underneath uses it. */
import { Logger } from '@nestjs/common';
import type { MeshLogger } from '../node/mesh-options.js';

/** The default of the option `logger`. */
export function meshLogger(): MeshLogger {
  const logger = new Logger('Mesh');
  return {
    log: (message) => logger.log(message),
    warn: (message) => logger.warn(message),
    error: (message) => logger.error(message),
    debug: (message) => logger.debug(message),
  };
}
