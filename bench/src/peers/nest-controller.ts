/** The handlers of every Nest peer; each does the least. */
import { Controller } from '@nestjs/common';
import { EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { map, range, type Observable } from 'rxjs';
import { monotonicMs, type Received } from '../program/protocol.js';
import { itemOf, type Item, type Message } from './peer.js';

let events = 0;
let lastAtMs = 0;

/** What `seen` has counted in this process. */
export function eventsReceived(): Received {
  return { events, lastAtMs };
}

@Controller()
export class EchoController {
  @MessagePattern('echo')
  echo(@Payload() message: Message): Message {
    return message;
  }

  @MessagePattern('items')
  items(@Payload() count: number): Observable<Item> {
    return range(0, count).pipe(map(itemOf));
  }

  @EventPattern('seen')
  seen(@Payload() _message: Message): void {
    events += 1;
    lastAtMs = monotonicMs();
  }
}
