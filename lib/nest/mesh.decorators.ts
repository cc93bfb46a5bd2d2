/** `@ChannelPattern`: a controller method that takes raw channels. */
import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { MessagePattern } from '@nestjs/microservices';
import { PARAM_ARGS_METADATA } from '@nestjs/microservices/constants.js';
import { DEFAULT_CHANNEL } from '../protocol/headers.js';
import { MESH_TRANSPORT } from './mesh.tokens.js';

/** What `@ChannelPattern` leaves in the extras of its handler. */
export interface ChannelExtras {
  readonly meshChannel: { readonly name: string | undefined };
}

/** The channel extras of a handler, or `undefined` when it is no channel handler. */
export function channelExtrasOf(extras: unknown): ChannelExtras['meshChannel'] | undefined {
  return (extras as Partial<ChannelExtras> | undefined)?.meshChannel;
}

// A parameter of this kind is left alone by ValidationPipe, which would otherwise take the channel for a DTO.
const ChannelParam = createParamDecorator((_: unknown, context: ExecutionContext): unknown =>
  context.switchToRpc().getData(),
);

/**
 * The method takes the raw channels which peers open under `name` (without one, or as 'default': the default channel). Its first parameter is
 * the `MeshChannel`; `@Ctx()` gives the `MeshContext`. Guards, interceptors and filters apply when the channel opens.
 * The method may return an Observable or an AsyncIterable, whose values are then sent, followed by the end of our half.
 */
export function ChannelPattern(name?: string): MethodDecorator {
  const wanted = name === DEFAULT_CHANNEL ? undefined : name;
  const extras: ChannelExtras = { meshChannel: { name: wanted } };
  const pattern = MessagePattern({ meshChannel: wanted ?? '' }, MESH_TRANSPORT, { ...extras });
  return (target, key, descriptor) => {
    if (!hasDecoratedParameter(target, key, 0)) ChannelParam()(target, key, 0);
    pattern(target, key, descriptor);
  };
}

function hasDecoratedParameter(target: object, key: string | symbol, index: number): boolean {
  const parameters = (Reflect.getMetadata(PARAM_ARGS_METADATA, target.constructor, key) ?? {}) as Record<
    string,
    { index: number }
  >;
  return Object.values(parameters).some((parameter) => parameter.index === index);
}
