/** The suite: every row of the table, on one transport. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { expectationOf, type Kind } from './row.js';
import { Stage, type MakeClient, type MakeServer } from './stage.js';
import { TABLE } from './table.js';

/** `tcp` and `mesh` are what rows tell apart; what follows says over what. */
export type TransportName = Kind | `${Kind} over ${string}`;

/** Proves the table on one transport: each row that has something to observe there is a test. */
export function describeConformance(
  name: TransportName,
  makeServer: MakeServer,
  makeClient: MakeClient,
): void {
  const kind: Kind = name.startsWith('tcp') ? 'tcp' : 'mesh';
  describe(`conformance of ${name}`, () => {
    let stage: Stage | undefined;
    afterEach(() => stage?.close());

    for (const section of TABLE) {
      describe(`${kind}: ${section.title}`, () => {
        for (const row of section.rows) {
          const expectation = expectationOf(row, kind, name.includes('MessagePack'));
          if (expectation === undefined) continue;
          it(`${row.id}: ${row.title}`, async () => {
            stage = new Stage(kind, makeServer, makeClient);
            expect(await row.observe(stage)).toStrictEqual(expectation.sees);
          });
        }
      });
    }
  });
}
