/** Which names a service may have. */
import { describe, expect, it } from '@jest/globals';
import { checkServiceName } from '../../lib/registry/service-name.js';

describe('a service name', () => {
  it.each(['orders', 'python-peer', '@scope/name', 'a.b_c+d', 'A1', 'x'.repeat(128)])('may be %s', (name) => {
    expect(checkServiceName(name)).toBeUndefined();
  });

  it.each(['', '*', 'a*', 'a:b', 'a?', '[ab]', '../etc', '.hidden', '-x', 'a b', 'ä', 'a\n', 'x\0'])(
    'may not be %j, and the reason names it',
    (name) => {
      expect(checkServiceName(name)).toContain(JSON.stringify(name));
    },
  );

  it('of 300 characters is refused with a short reason that says how long it is', () => {
    const reason = checkServiceName('x'.repeat(300));
    expect(reason).toContain('(300 characters)');
    expect(reason?.length).toBeLessThan(250);
  });

  it.each([[undefined], [null], [7], [['orders']]])('that is %j is refused by its type', (name) => {
    expect(checkServiceName(name)).toMatch(/must be a string, not/);
  });
});
