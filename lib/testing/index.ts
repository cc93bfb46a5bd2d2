/** The public names of `nestjs-mesh/testing`. */
export { MeshTestingModule, type MeshTestingOptions } from './mesh-testing.module.js';
export {
  TestMesh,
  type FakeServiceOptions,
  type MeshTestOptions,
  type OverridableModule,
} from './test-mesh.js';
export {
  FakeService,
  type FakeCalls,
  type FakeChannelHandler,
  type FakeHandler,
  type FakeParts,
  type Received,
} from './fake-service.js';
export { MeshLink } from './mesh-link.js';
