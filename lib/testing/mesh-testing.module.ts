/** `MeshTestingModule`: stands where `MeshModule` stands, in a test mesh. */
import { Inject, Module, type DynamicModule, type OnApplicationShutdown } from '@nestjs/common';
import { MeshModule, type MeshFeature } from '../nest/mesh.module.js';
import { MeshNode } from '../node/mesh-node.js';
import type { MeshOptions } from '../node/mesh-options.js';
import { TestMesh } from './test-mesh.js';

/** The options of a node, and the mesh that it is in. */
export interface MeshTestingOptions extends MeshOptions {
  /** @default a new one, which `app.get(TestMesh)` gives and which is closed with the application */
  readonly mesh?: TestMesh | undefined;
}

/** Closes the mesh that was made for the application. */
class OwnMesh implements OnApplicationShutdown {
  constructor(@Inject(TestMesh) private readonly mesh: TestMesh) {}

  async onApplicationShutdown(): Promise<void> {
    await this.mesh.close();
  }
}

@Module({})
export class MeshTestingModule {
  /**
   * As `MeshModule.forRoot`, for modules that a test puts together by itself. An application that imports `MeshModule` needs no
   * other import to be tested: see `TestMesh.override`.
   */
  static forRoot({ mesh, ...options }: MeshTestingOptions): DynamicModule {
    const root = MeshModule.forRoot(options);
    const own = mesh ?? new TestMesh();
    const providers = (root.providers ?? []).filter(
      (provider) => !('provide' in provider && provider.provide === MeshNode),
    );
    return {
      ...root,
      module: MeshTestingModule,
      providers: [
        ...providers,
        { provide: TestMesh, useValue: own },
        { provide: MeshNode, useFactory: () => own.node(options) },
        ...(mesh === undefined ? [OwnMesh] : []),
      ],
      exports: [...(root.exports ?? []), TestMesh],
    };
  }

  /** As `MeshModule.forFeature`. */
  static forFeature(features: readonly (string | MeshFeature)[]): DynamicModule {
    return MeshModule.forFeature(features);
  }
}
