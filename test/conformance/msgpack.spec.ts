/** The conformance table over the mesh once more, in MessagePack: no row may tell the codecs apart. */
import { describeConformance } from './conformance.js';
import { meshTransport } from './mesh.js';

const packed = meshTransport(() => ({ codec: 'msgpack' }));
describeConformance('mesh over MessagePack', packed.makeServer, packed.makeClient);
