/** What every ClientProxy of Nest does in the same words. */
import type { ClientProxy } from '@nestjs/microservices';
import { firstValueFrom, lastValueFrom, type Observable } from 'rxjs';
import type { Client, Item, Message } from './peer.js';

/** Calls, events and response streams by `send` and `emit`. */
export function nestCalls(client: ClientProxy): Required<Pick<Client, 'call' | 'emit' | 'stream'>> {
  return {
    call: (message) => firstValueFrom(client.send<Message, Message>('echo', message)),
    emit: (message) => lastValueFrom(client.emit('seen', message), { defaultValue: undefined }),
    stream: (count, take) => taken(client.send<Item, number>('items', count), take),
  };
}

/** Resolves when `items` completes. */
export function taken(items: Observable<Item>, take: (item: Item) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    items.subscribe({ next: take, complete: resolve, error: reject });
  });
}
