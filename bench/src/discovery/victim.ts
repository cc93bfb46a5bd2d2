/** A node that is there to be killed: announces itself, says its id, and waits. */
import { loadRegistry, recordOf } from './library.js';

const [dist = '', url = '', service = ''] = process.argv.slice(2);
const openRegistry = await loadRegistry(dist);
const registry = openRegistry(url, { logger: { warn: () => undefined, log: () => undefined } });
const record = recordOf(service);
await registry.announce(record);
process.send?.(record.id);
process.on('disconnect', () => process.exit());
