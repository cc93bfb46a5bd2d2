/** Streams of input, and how far a producer runs ahead: what gRPC has among Nest's transports, and TCP has not. */
import { Controller } from '@nestjs/common';
import { MessagePattern } from '@nestjs/microservices';
import { lastValueFrom, map, of, timeout, type Observable } from 'rxjs';
import type { MeshClientProxy } from '../../../lib/index.js';
import { pause } from '../../support/eventually.js';
import { answer, got } from '../outcome.js';
import type { Section } from '../row.js';

/** 64 MB in all, four times what may be on the way. */
const ITEMS = 1_024;
const ITEM = 'x'.repeat(64 * 1_024);
let made = 0;
let returned = 0;

async function* twice(): AsyncGenerator<number> {
  yield 1;
  yield 2;
}

@Controller()
class StreamingController {
  @MessagePattern('collect')
  async collect(data: unknown): Promise<unknown> {
    if (typeof data !== 'object' || data === null || !(Symbol.asyncIterator in data)) return data;
    const values: unknown[] = [];
    for await (const value of data as AsyncIterable<unknown>) values.push(value);
    return values;
  }
  @MessagePattern('doubled', { input: 'observable' })
  doubled(numbers: Observable<number>): Observable<number> {
    return numbers.pipe(map((n) => n * 2));
  }
  @MessagePattern('export')
  async *export(): AsyncGenerator<string> {
    try {
      for (made = 0; made < ITEMS; made += 1) yield ITEM;
    } finally {
      returned += 1;
    }
  }
}

export const STREAMS: Section = {
  title: 'Streams of input, and backpressure',
  rows: [
    {
      id: 'streams.input',
      title: 'An Observable or an async generator that the caller gives as data.',
      tcp: { says: 'arrives as `{}`', sees: [got({}), got({})] },
      mesh: {
        says: 'is streamed: the handler gets an AsyncIterable of its values',
        sees: [got([1, 2]), got([1, 2])],
      },
      why: 'Nest sends both as the JSON of the object, `{}`; only its gRPC transport has streams of input.',
      async observe(stage) {
        const { client } = await stage.serve(StreamingController);
        return [await answer(client, 'collect', of(1, 2)), await answer(client, 'collect', twice())];
      },
    },
    {
      id: 'streams.both-ways',
      title: 'A handler that answers each value of a stream of input, which it takes as an Observable.',
      tcp: { none: 'nothing: data is one value' },
      mesh: { says: 'yes', sees: got(2, 4) },
      why: 'A handler that must collect its input before it answers needs memory for all of it.',
      async observe(stage) {
        const { client } = await stage.serve(StreamingController);
        return answer(client, 'doubled', twice());
      },
    },
    {
      id: 'streams.backpressure',
      title: 'A producer whose caller stops reading after the first value.',
      tcp: { none: 'nothing: a caller cannot read at its own pace' },
      mesh: {
        says: 'waits, at most what the HTTP/2 window and the sockets hold ahead, and is stopped when the loop is left',
        sees: { ahead: 'less than half', returned: 1 },
      },
      why: 'Without it every value that a slow caller has not read yet is in the memory of somebody.',
      async observe(stage) {
        returned = 0;
        const { client } = await stage.serve(StreamingController);
        for await (const _ of (client as MeshClientProxy).stream('export', {})) {
          // Long enough for a producer that is not held back to be done.
          await pause(300);
          break;
        }
        const ahead = made < ITEMS / 2 ? 'less than half' : `${made} of ${ITEMS}`;
        // The cancel has arrived when a later call is answered.
        await lastValueFrom(client.send('collect', 1).pipe(timeout(5_000)));
        await pause(20);
        return { ahead, returned };
      },
    },
  ],
};
