/** What has become of the events of a node: numbers since it was made. */

/** Each event is counted once for each node that it was meant for. */
export interface EventStatus {
  /** Handed to the transport. */
  readonly sent: number;
  /** Acknowledged by the node that they went to. */
  readonly acknowledged: number;
  /** Meant for a node that could not be reached, or whose acknowledgement did not come. */
  readonly lost: number;
  /** Meant for nobody: no node of the service, no handler there, or no service that takes them. */
  readonly unroutable: number;
  /** Come from others. */
  readonly received: number;
  /** Received, without a handler here. */
  readonly unhandled: number;
  /** Received, with a handler that failed. */
  readonly failed: number;
}

/** The numbers themselves. */
export type EventCounts = { -readonly [Name in keyof EventStatus]: EventStatus[Name] };

export function newEventCounts(): EventCounts {
  return { sent: 0, acknowledged: 0, lost: 0, unroutable: 0, received: 0, unhandled: 0, failed: 0 };
}
