/** What the world calls over HTTP; the answers come from the Python peer. */
import {
  BadGatewayException,
  BadRequestException,
  Controller,
  GatewayTimeoutException,
  Get,
  Injectable,
  Query,
  ServiceUnavailableException,
  type ArgumentMetadata,
  type PipeTransform,
} from '@nestjs/common';
import { InjectMeshClient, MeshClientProxy, MeshError, MeshServer } from 'nestjs-mesh';
import { firstValueFrom } from 'rxjs';
import { Chat } from './chat.js';

/** A finite number out of a query; 400 otherwise. */
@Injectable()
class FiniteNumberPipe implements PipeTransform<unknown, number> {
  transform(value: unknown, { data }: ArgumentMetadata): number {
    const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : NaN;
    if (Number.isFinite(number)) return number;
    throw new BadRequestException(`${data} must be a number, not ${JSON.stringify(value) ?? 'left out'}`);
  }
}

@Controller()
export class HttpController {
  constructor(
    @InjectMeshClient('python-peer') private readonly python: MeshClientProxy,
    private readonly server: MeshServer,
    private readonly chat: Chat,
  ) {}

  @Get('sum')
  async sum(@Query('a', FiniteNumberPipe) a: number, @Query('b', FiniteNumberPipe) b: number) {
    try {
      return { sum: await this.python.with({ timeoutMs: 2_000 }).call<number>('sum', { a, b }) };
    } catch (error) {
      throw httpError(error);
    }
  }

  /** Answers while the application works, whether or not the peer is there. */
  @Get('health')
  async health() {
    const registry = await firstValueFrom(this.server.status);
    return { status: 'ok', registry, python: this.chat.connected ? 'connected' : 'awaited' };
  }
}

/** A failed call as HTTP says it: what the mesh reports, or what the peer's handler threw. */
function httpError(error: unknown): unknown {
  if (!MeshError.is(error))
    return new BadGatewayException("'python-peer' failed to answer", { cause: error });
  if (error.code === 'UNAVAILABLE' || error.delivery === 'not-sent')
    return new ServiceUnavailableException(error.message);
  return new GatewayTimeoutException(error.message);
}
