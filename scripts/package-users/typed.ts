/** A user who writes TypeScript: every kind of public name in one small service, compiled strictly and then run. */
import { Controller, Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Ctx, EventPattern, Payload } from '@nestjs/microservices';
import {
  ChannelPattern,
  InjectMeshClient,
  type MeshChannel,
  MeshClientProxy,
  MeshContext,
  MeshError,
  MeshModule,
  meshPatterns,
  MeshRecordBuilder,
  MeshServer,
} from 'nestjs-mesh';

interface GreetingContract {
  calls: { greet: { request: string; response: string } };
  events: { seen: string };
}

const greeting = meshPatterns<GreetingContract>();

@Injectable()
class Greetings {
  constructor(@InjectMeshClient('self') private readonly self: MeshClientProxy<GreetingContract>) {}

  ask(name: string): Promise<string> {
    const record = new MeshRecordBuilder(name).setMetadata({ from: 'typed' }).setTimeout(5_000).build();
    // @ts-expect-error -- the contract has no such event
    if (name === '') this.self.emit('sen', name);
    return this.self.call('greet', record);
  }
}

@Controller()
class GreetingController {
  @greeting.call('greet')
  greet(@Payload() name: string, @Ctx() context: MeshContext): string {
    return `${name} from ${context.getMetadata()?.['from']}`;
  }

  @EventPattern('seen')
  seen(@Payload() _name: string): void {}

  @ChannelPattern('echo')
  async echo(channel: MeshChannel): Promise<void> {
    for await (const message of channel) await channel.send(message);
  }
}

@Module({
  imports: [
    MeshModule.forRoot({ service: 'self', registry: 'memory:typed' }),
    MeshModule.forFeature(['self']),
  ],
  controllers: [GreetingController],
  providers: [Greetings],
})
class AppModule {}

const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] });
app.connectMicroservice({ strategy: app.get(MeshServer) }, { inheritAppConfig: true });
await app.startAllMicroservices();
await app.init();
const answer = await app.get(Greetings).ask('Ada');
if (answer !== 'Ada from typed') throw new Error(`unexpected answer: ${answer}`);
const failure = new MeshError('NOT_FOUND', 'made by hand');
if (failure.code !== 'NOT_FOUND') throw new Error(`unexpected code: ${failure.code}`);
await app.close();
console.log('TypeScript: compiled, called itself, and stopped');
