/** Which calls are made again and when, and what may be spent on them. */
import { describe, expect, it } from '@jest/globals';
import { MESH_ERROR_CODES, type MeshErrorCode } from '../../lib/protocol/error-code.js';
import { MeshError, type Delivery } from '../../lib/protocol/mesh-error.js';
import { RetryBudget } from '../../lib/routing/retry-budget.js';
import {
  retryAfterMs,
  retryDelayMs,
  type FailedAttempt,
  type RetryOptions,
} from '../../lib/routing/retry.js';

const OPTIONS: RetryOptions = { attempts: 3, baseMs: 20, maxMs: 1_000 };
const DELIVERIES: readonly Delivery[] = ['not-sent', 'refused', 'unknown'];

function failed({
  code = 'UNAVAILABLE',
  delivery = 'not-sent',
  details,
  ...rest
}: Partial<{
  code: MeshErrorCode;
  delivery: Delivery;
  details: Readonly<Record<string, unknown>>;
  attempts: number;
  leftMs: number;
  idempotent: () => boolean;
}> = {}): FailedAttempt {
  const error = new MeshError(code, 'it failed', { delivery, details });
  return { error, attempts: 1, leftMs: Infinity, idempotent: () => false, ...rest };
}

describe('A call that has failed', () => {
  const repeated = new Set(['UNAVAILABLE not-sent', 'UNAVAILABLE refused']);

  it.each(MESH_ERROR_CODES.flatMap((code) => DELIVERIES.map((delivery) => [code, delivery] as const)))(
    'with %s, %s is made again only if it may be',
    (code, delivery) => {
      const plain = retryDelayMs(OPTIONS, failed({ code, delivery }));
      expect(plain !== undefined).toBe(repeated.has(`${code} ${delivery}`));
      const idempotent = retryDelayMs(OPTIONS, failed({ code, delivery, idempotent: () => true }));
      expect(idempotent !== undefined).toBe(code === 'UNAVAILABLE');
      const hinted = retryDelayMs(OPTIONS, failed({ code, delivery, details: { retryAfterMs: 5 } }));
      const mayBe = (code === 'UNAVAILABLE' || code === 'RESOURCE_EXHAUSTED') && delivery !== 'unknown';
      expect(hinted !== undefined).toBe(mayBe);
    },
  );

  it('is asked whether it may run twice only where that counts', () => {
    const never = (): boolean => {
      throw new Error('nobody wants to know');
    };
    expect(retryDelayMs(OPTIONS, failed({ idempotent: never }))).toBeDefined();
    expect(
      retryDelayMs(OPTIONS, failed({ code: 'INTERNAL', delivery: 'unknown', idempotent: never })),
    ).toBeUndefined();
  });

  it('is made no more often than is said', () => {
    expect(retryDelayMs(OPTIONS, failed({ attempts: 2 }))).toBeDefined();
    expect(retryDelayMs(OPTIONS, failed({ attempts: 3 }))).toBeUndefined();
    expect(retryDelayMs({ ...OPTIONS, attempts: 1 }, failed())).toBeUndefined();
  });

  it('waits between nothing and a bound that doubles each time', () => {
    const many = { ...OPTIONS, attempts: 20 };
    const bounds = [1, 2, 3, 6, 7, 12].map((attempts) => {
      const least = retryDelayMs(many, failed({ attempts }), () => 0);
      const half = retryDelayMs(many, failed({ attempts }), () => 0.5);
      return [least, half];
    });
    expect(bounds).toEqual([
      [0, 10],
      [0, 20],
      [0, 40],
      [0, 320],
      [0, 500],
      [0, 500],
    ]);
  });

  it('waits as long as its peer has asked for, and then as long again as any other', () => {
    const details = { retryAfterMs: 250 };
    expect(retryDelayMs(OPTIONS, failed({ details }), () => 0)).toBe(250);
    expect(retryDelayMs(OPTIONS, failed({ details }), () => 0.5)).toBe(260);
  });

  it('is not made again when its time is over before that', () => {
    const details = { retryAfterMs: 250 };
    expect(retryDelayMs(OPTIONS, failed({ details, leftMs: 260 }), () => 0.5)).toBeUndefined();
    expect(retryDelayMs(OPTIONS, failed({ details, leftMs: 261 }), () => 0.5)).toBe(260);
    expect(retryDelayMs(OPTIONS, failed({ leftMs: 0 }), () => 0)).toBeUndefined();
  });

  it.each([[-1], ['250'], [Infinity], [NaN], [null]])('has no hint in %p', (hint) => {
    expect(retryAfterMs(failed({ details: { retryAfterMs: hint } }).error)).toBeUndefined();
  });
});

describe('The budget of repeated calls', () => {
  interface Spending {
    readonly budget: RetryBudget;
    wait(ms: number): void;
  }

  function budgetOf(share = 0.2, perSecond = 10): Spending {
    let now = 0;
    return {
      budget: new RetryBudget({ share, perSecond }, () => now),
      wait(ms) {
        now += ms;
      },
    };
  }

  function spent({ budget }: Spending, wanted = 10_000): number {
    let count = 0;
    while (count < wanted && budget.withdraw()) count += 1;
    return count;
  }

  it('has ten each second for clients with few calls, and saves no more than that', () => {
    const spending = budgetOf();
    expect(spent(spending)).toBe(10);
    spending.wait(500);
    expect(spent(spending)).toBe(5);
    spending.wait(60_000);
    expect(spent(spending)).toBe(10);
  });

  it('has one for every five calls, on top of that', () => {
    const spending = budgetOf();
    for (let n = 0; n < 500; n += 1) spending.budget.deposit();
    expect(spent(spending)).toBeGreaterThanOrEqual(109);
    expect(spent(spending)).toBe(0);
  });

  it('keeps what calls have earned up to a bound, so that a quiet day does not pay for a storm', () => {
    const spending = budgetOf();
    for (let n = 0; n < 1_000_000; n += 1) spending.budget.deposit();
    expect(spent(spending)).toBeLessThanOrEqual(1_011);
  });

  it('lets a service that fails as a whole have a fifth more calls, and no more', () => {
    const spending = budgetOf();
    let repeated = 0;
    const calls = 10_000;
    for (let n = 0; n < calls; n += 1) {
      spending.budget.deposit();
      // A thousand calls a second, each of which would be made twice more.
      spending.wait(1);
      repeated += spent(spending, 2);
    }
    expect(repeated / calls).toBeGreaterThan(0.2);
    expect(repeated / calls).toBeLessThan(0.22);
  });

  it('with nothing in it lets no call be made again', () => {
    const spending = budgetOf(0, 0);
    spending.budget.deposit();
    expect(spent(spending)).toBe(0);
  });
});
