/** Several nodes of one service: what brokers do for the transports that have one, and TCP has not. */
import { Controller } from '@nestjs/common';
import { EventPattern, MessagePattern } from '@nestjs/microservices';
import type { MeshClientProxy } from '../../../lib/index.js';
import { eventually, pause } from '../../support/eventually.js';
import { answer } from '../outcome.js';
import type { Section } from '../row.js';
import type { Service, Stage } from '../stage.js';

const ONE_ADDRESS = { none: 'nothing: a client has one address' };
const WHY = 'The registry knows every node of a service, and a client is bound to the service.';

let heard: number[] = [];

/** A node that answers with its number. */
function numbered(number: number) {
  @Controller()
  class NumberedController {
    @MessagePattern('who')
    async who(): Promise<number> {
      await pause(1);
      return number;
    }
    @EventPattern<unknown>('event')
    event(): void {
      heard.push(number);
    }
  }
  return NumberedController;
}

/** The numbers of the nodes that answer when many calls are made at once. */
async function whoAnswers(client: Service['client']): Promise<number[]> {
  const outcomes = await Promise.all(Array.from({ length: 60 }, () => answer(client, 'who')));
  return [...new Set(outcomes.map(({ values }) => Number(values[0])))].toSorted((a, b) => a - b);
}

/** Three nodes of one service, all known to the client of the first. */
async function three(stage: Stage): Promise<[Service, Service, Service]> {
  heard = [];
  const first = await stage.serve(numbered(0));
  const like = { settings: { like: first.server } };
  const nodes: [Service, Service, Service] = [
    first,
    await stage.serve(numbered(1), like),
    await stage.serve(numbered(2), like),
  ];
  const seen = new Set<unknown>();
  await eventually('all three answer', async () => {
    seen.add((await answer(first.client, 'who')).values[0]);
    return seen.size === 3;
  });
  return nodes;
}

export const NODES: Section = {
  title: 'Several nodes of one service',
  rows: [
    {
      id: 'nodes.share',
      title: 'Calls that are under way at once go to all nodes.',
      tcp: ONE_ADDRESS,
      mesh: { says: 'yes', sees: [0, 1, 2] },
      why: WHY,
      async observe(stage) {
        const [{ client }] = await three(stage);
        return whoAnswers(client);
      },
    },
    {
      id: 'nodes.leave',
      title: 'A node that is closed while calls are made costs none of them; the others answer on.',
      tcp: ONE_ADDRESS,
      mesh: { says: 'yes', sees: [200, [0, 1]] },
      why: WHY,
      async observe(stage) {
        const [{ client }, , third] = await three(stage);
        let answered = 0;
        let closing: Promise<void> | undefined;
        for (let at = 0; at < 20; at += 1) {
          if (at === 10) closing = third.app.close();
          const outcomes = await Promise.all(Array.from({ length: 10 }, () => answer(client, 'who')));
          answered += outcomes.filter(({ error }) => error === undefined).length;
        }
        await closing;
        return [answered, await whoAnswers(client)];
      },
    },
    {
      id: 'nodes.emit',
      title: 'An event reaches exactly one node.',
      tcp: ONE_ADDRESS,
      mesh: { says: 'yes', sees: 3 },
      why: WHY,
      async observe(stage) {
        const [{ client }] = await three(stage);
        for (let at = 0; at < 3; at += 1) client.emit('event', at);
        await eventually('all are heard', () => heard.length >= 3);
        await Promise.all([1, 2, 3].map(() => answer(client, 'who')));
        return heard.length;
      },
    },
    {
      id: 'nodes.broadcast',
      title: 'A broadcast event reaches every node, and tells which.',
      tcp: ONE_ADDRESS,
      mesh: { says: 'yes', sees: [3, [0, 1, 2]] },
      why: WHY,
      async observe(stage) {
        const [{ client }] = await three(stage);
        const ids = await (client as unknown as MeshClientProxy).broadcast('event', 1);
        await eventually('all have heard', () => heard.length >= 3);
        return [new Set(ids).size, heard.toSorted((a, b) => a - b)];
      },
    },
  ],
};
