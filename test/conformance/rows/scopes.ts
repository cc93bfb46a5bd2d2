/** Scopes: request-scoped controllers and providers. */
import { Controller, Inject, Injectable, Scope } from '@nestjs/common';
import { ContextIdFactory, REQUEST, type ContextId } from '@nestjs/core';
import {
  EventPattern,
  MessagePattern,
  type BaseRpcContext,
  type RequestContext,
} from '@nestjs/microservices';
import { eventually } from '../../support/eventually.js';
import { answer, got } from '../outcome.js';
import type { Section } from '../row.js';

const made = { scoped: 0, transient: 0, controllers: 0, singletons: 0 };
const instances: unknown[] = [];

interface PatternContext extends BaseRpcContext {
  getPattern(): string;
}

@Injectable()
class Singleton {
  constructor() {
    made.singletons += 1;
  }
}

@Injectable({ scope: Scope.REQUEST })
class Scoped {
  constructor() {
    made.scoped += 1;
  }
}

@Injectable({ scope: Scope.TRANSIENT })
class Transient {
  constructor() {
    made.transient += 1;
  }
}

@Controller()
class ScopedController {
  constructor(
    @Inject(Singleton) readonly singleton: Singleton,
    @Inject(Scoped) readonly scoped: Scoped,
    @Inject(Transient) readonly transient: Transient,
    @Inject(REQUEST) readonly request: RequestContext<unknown, PatternContext>,
  ) {
    made.controllers += 1;
  }
  @MessagePattern('request')
  get(): unknown {
    const { request } = this;
    return [request.getData(), request.getPattern(), request.getContext().getPattern()];
  }
  @EventPattern<unknown>('event')
  first(): void {
    instances.push(this.scoped);
  }
  @EventPattern<unknown>('event')
  second(): void {
    instances.push(this.scoped);
  }
}

const METADATA = { controllers: [ScopedController], providers: [Singleton, Scoped, Transient] };

let tenants = 0;

@Injectable({ scope: Scope.REQUEST, durable: true })
class Tenant {
  private readonly number = (tenants += 1);
  constructor(@Inject(REQUEST) private readonly request: { readonly tenant: string }) {}
  get text(): string {
    return `${this.request.tenant} ${this.number}`;
  }
}

@Controller({ scope: Scope.REQUEST, durable: true })
class TenantController {
  constructor(@Inject(Tenant) private readonly tenant: Tenant) {}
  @MessagePattern('tenant')
  get(): string {
    return this.tenant.text;
  }
}

export const SCOPES: Section = {
  title: 'Scopes',
  rows: [
    {
      id: 'scopes.request',
      title:
        'Each of three calls has a controller and request-scoped providers of its own; a singleton is made once.',
      both: { scoped: 3, transient: 3, controllers: 3, singletons: 1 },
      async observe(stage) {
        Object.assign(made, { scoped: 0, transient: 0, controllers: 0, singletons: 0 });
        const { client } = await stage.serve(METADATA);
        await Promise.all([1, 2, 3].map((data) => answer(client, 'request', data)));
        return made;
      },
    },
    {
      id: 'scopes.inject',
      title: '`REQUEST` gives the data, the pattern and the context.',
      both: got(['data', 'request', 'request']),
      async observe(stage) {
        const { client } = await stage.serve(METADATA);
        return answer(client, 'request', 'data');
      },
    },
    {
      id: 'scopes.events',
      title: 'The handlers of one event share the request-scoped instances; the next event has its own.',
      both: [true, false],
      async observe(stage) {
        instances.length = 0;
        const { client } = await stage.serve(METADATA);
        client.emit('event', 1);
        await eventually('both have run', () => instances.length === 2);
        client.emit('event', 2);
        await eventually('both have run', () => instances.length === 4);
        return [instances[0] === instances[1], instances[0] === instances[2]];
      },
    },
    {
      id: 'scopes.durable',
      title:
        'A durable provider is made once for each tenant, by a strategy that reads the data of the call.',
      both: [got('acme 1'), got('acme 1'), got('umbrella 2')],
      async observe(stage) {
        tenants = 0;
        const known = new Map<string, ContextId>();
        ContextIdFactory.apply({
          attach(contextId, request: RequestContext<{ tenant?: string }>) {
            const tenant = request.getData?.()?.tenant;
            if (tenant === undefined) return undefined;
            const id = known.get(tenant) ?? ContextIdFactory.create();
            known.set(tenant, id);
            return {
              resolve: (info) => (info.isTreeDurable ? id : contextId),
              payload: { tenant },
            };
          },
        });
        try {
          const { client } = await stage.serve({ controllers: [TenantController], providers: [Tenant] });
          const outcomes = [];
          for (const tenant of ['acme', 'acme', 'umbrella'])
            outcomes.push(await answer(client, 'tenant', { tenant }));
          return outcomes;
        } finally {
          ContextIdFactory.apply({ attach: () => undefined });
        }
      },
    },
  ],
};
