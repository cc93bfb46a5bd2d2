/** Patterns that several handlers claim, of which only one can answer. */
import type { MessageHandler } from '@nestjs/microservices';

/** Names the classes and methods whose decorators made the extras of a handler, as `OrdersController.create (OrdersModule)`. */
export type HandlerNames = (extras: object) => readonly string[];

interface Claim {
  readonly callback: MessageHandler;
  readonly extras: object;
}

/** What is wrong with the claims. */
export interface ClaimFaults {
  /** Claims of different handlers, one sentence each. */
  readonly duplicates: readonly string[];
  /** Claims that one handler has made several times, one sentence each. */
  readonly repeated: readonly string[];
}

/**
 * Who claims what. Nest hands over bare callbacks, a new one at every registration; but their extras are read from the
 * decorated method, so that handlers with the same extras object are the same method.
 */
export class HandlerClaims {
  private readonly claims = new Map<string, Claim[]>();

  /** `what`: what is claimed, in words, as `the message pattern "sum"`. */
  add(what: string, claim: Claim): void {
    const claims = this.claims.get(what);
    if (claims === undefined) this.claims.set(what, [claim]);
    else if (!claims.some(({ callback }) => callback === claim.callback)) claims.push(claim);
  }

  /** Without `names`, a method that two controllers inherit from one class is taken for one handler. */
  faults(names: HandlerNames | undefined): ClaimFaults {
    const duplicates: string[] = [];
    const repeated: string[] = [];
    for (const [what, claims] of this.claims) {
      if (claims.length < 2) continue;
      const methods = [...new Set(claims.map(({ extras }) => extras))];
      const owners = methods.flatMap((extras) => names?.(extras) ?? []);
      const count = Math.max(methods.length, owners.length);
      if (count > 1) duplicates.push(duplicate(what, count, owners));
      else repeated.push(repetition(what, claims.length, owners));
    }
    return { duplicates, repeated };
  }
}

function duplicate(what: string, count: number, owners: readonly string[]): string {
  const known = owners.length > 0 ? owners.join(', ') : 'with MeshModule their names would stand here';
  return `${what} has ${count} handlers, of which only the last one would answer: ${known}`;
}

function repetition(what: string, count: number, owners: readonly string[]): string {
  const owner = owners.length > 0 ? ` of ${owners.join(', ')}` : '';
  return (
    `${what}${owner} was registered ${count} times, and the last one answers: is its controller in several modules, ` +
    'or was the server connected several times?'
  );
}
