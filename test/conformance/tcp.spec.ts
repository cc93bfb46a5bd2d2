/** The conformance table over Nest's own TCP transport: the measure. */
import { describeConformance } from './conformance.js';
import { clientOfTcp, tcpServer } from './tcp.js';

describeConformance('tcp', tcpServer, clientOfTcp);
