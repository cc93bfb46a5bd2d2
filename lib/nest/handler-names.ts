/** The names of handlers, which Nest does not tell a server: looked up in the controllers of the application. */
import { MetadataScanner, type ModulesContainer } from '@nestjs/core';
import { PATTERN_EXTRAS_METADATA } from '@nestjs/microservices/constants.js';
import type { HandlerNames } from './handler-claims.js';

/** Walks all controllers at each call, so it is for errors, not for messages. */
export function handlerNames(modules: ModulesContainer): HandlerNames {
  return (extras) => {
    const scanner = new MetadataScanner();
    const places = new Map<object, { name: string; modules: string[] }>();
    for (const module of modules.values()) {
      for (const { metatype } of module.controllers.values()) {
        const prototype = metatype?.prototype as Record<string, unknown> | undefined;
        if (metatype === null || prototype === undefined) continue;
        for (const method of scanner.getAllMethodNames(prototype)) {
          if (extrasOf(prototype[method]) !== extras) continue;
          const place = places.get(metatype);
          if (place === undefined)
            places.set(metatype, { name: `${metatype.name}.${method}`, modules: [module.name] });
          else if (!place.modules.includes(module.name)) place.modules.push(module.name);
        }
      }
    }
    return [...places.values()].map((place) => `${place.name} (${place.modules.join(', ')})`);
  };
}

function extrasOf(method: unknown): unknown {
  return typeof method === 'function' ? Reflect.getMetadata(PATTERN_EXTRAS_METADATA, method) : undefined;
}
