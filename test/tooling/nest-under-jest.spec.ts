/** The test setup itself: ES modules, `.js` specifiers and decorator metadata work under Jest as they do in a build. */
import { describe, expect, it } from '@jest/globals';
import { Controller, Injectable, Module } from '@nestjs/common';
import { MessagePattern } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { MeshError } from '../../lib/protocol/mesh-error.js';

@Injectable()
class Greeter {
  greet(name: string): string {
    return `Hello, ${name}`;
  }
}

@Controller()
class GreetingController {
  constructor(readonly greeter: Greeter) {}

  @MessagePattern('greet')
  greet(name: string): string {
    return this.greeter.greet(name);
  }
}

@Module({ controllers: [GreetingController], providers: [Greeter] })
class GreetingModule {}

describe('Nest under Jest', () => {
  it('injects by the types of constructor parameters', async () => {
    const module = await Test.createTestingModule({ imports: [GreetingModule] }).compile();
    expect(module.get(GreetingController).greet('mesh')).toBe('Hello, mesh');
    await module.close();
  });

  it('runs sources as ES modules, found by their ".js" names', () => {
    expect(import.meta.url).toMatch(/^file:/);
    expect(MeshError.name).toBe('MeshError');
  });
});
