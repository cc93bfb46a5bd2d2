/** What the Python peer calls. */
import { Controller } from '@nestjs/common';
import { Ctx, EventPattern, MessagePattern, Payload, RpcException } from '@nestjs/microservices';
import { InjectMeshClient, MeshClientProxy, MeshContext } from 'nestjs-mesh';

@Controller()
export class GreetingController {
  constructor(@InjectMeshClient('python-peer') private readonly python: MeshClientProxy) {}

  @MessagePattern({ cmd: 'greet' })
  greet(@Payload('name') name: unknown, @Ctx() context: MeshContext): string {
    if (typeof name !== 'string') throw new RpcException('greet needs {name: string}');
    return `Hello ${name}, you are '${context.peer.service}' to me.`;
  }

  @EventPattern('python.greeted')
  greeted(@Payload() greeting: unknown): void {
    console.log(`Event python.greeted: ${JSON.stringify(greeting)}`);
    this.python.emit('node.greeted', { name: 'Node' });
  }
}
