/** What callers are told when a call is not even begun. */
import type { MeshErrorCode } from '../protocol/error-code.js';
import { MeshError, type MeshErrorWire } from '../protocol/mesh-error.js';

/** The service has no handlers at all. */
export function answersNoCalls(service: string): MeshErrorWire {
  return new MeshError('UNIMPLEMENTED', `service '${service}' answers no calls`, {
    delivery: 'refused',
  }).toWire();
}

/** The time limit of the call was over when it came in. */
export function tooLate(): MeshErrorWire {
  return new MeshError('DEADLINE_EXCEEDED', 'the time limit of the call was over before it began', {
    delivery: 'refused',
  }).toWire();
}

/** This node itself is closed. */
export function closedError(): MeshError {
  return new MeshError('UNAVAILABLE', 'the mesh node is closed', { delivery: 'not-sent' });
}

/** It was not begun, and says why. */
export function refused(code: MeshErrorCode, message: string): MeshError {
  return new MeshError(code, message, { delivery: 'refused' });
}

/** This node takes nothing new. */
export function shuttingDown(): MeshError {
  return refused('UNAVAILABLE', 'this node is shutting down');
}
