/** Looks out for the services that take events, on behalf of everybody in this process who publishes. */
import type { StoreSubscribers } from './record-store.js';
import { StandingLook, type LookoutOwner } from './standing-look.js';

/** One standing look-out for the whole registry. */
export class SubscriberLookout extends StandingLook<readonly string[], readonly string[]> {
  private services: readonly string[] | undefined;

  constructor(store: StoreSubscribers, owner: LookoutOwner) {
    super('the services that take events', store, owner);
  }

  protected override listed(found: readonly string[]): readonly string[] {
    const services = found.toSorted();
    if (this.services === undefined || !sameTexts(services, this.services)) this.services = services;
    return this.services;
  }
}

function sameTexts(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.every((text, at) => text === right[at]);
}
