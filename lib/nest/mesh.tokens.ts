/** The names under which Nest's container knows the parts of the mesh. */
import { Inject } from '@nestjs/common';

/** The transport id of the mesh: the second argument of `@MessagePattern` for handlers that only the mesh should serve. */
export const MESH_TRANSPORT: unique symbol = Symbol.for('nestjs-mesh') as never;

/** Injects the options that `MeshModule` was configured with. */
export const MESH_OPTIONS: unique symbol = Symbol.for('nestjs-mesh.options') as never;

/** The injection token of the client that `MeshModule.forFeature` made for `name`. */
export function getMeshClientToken(name: string): string {
  return `nestjs-mesh.client:${name}`;
}

/** Injects the client that `MeshModule.forFeature` made for a service. */
export function InjectMeshClient(name: string): ParameterDecorator & PropertyDecorator {
  return Inject(getMeshClientToken(name));
}
