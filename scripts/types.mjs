/** `npm run types`: checks the types of every TypeScript project of the repository, without writing anything. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ensureBenchPackages } from './lib/ensure-bench.mjs';
import { ROOT } from './lib/paths.mjs';
import { run } from './lib/run.mjs';
import { runMain } from './lib/setup-error.mjs';

const PROJECTS = [
  'tsconfig.json',
  'scripts/tsconfig.json',
  'sample-app/node-peer/tsconfig.json',
  'bench/tsconfig.json',
];

await runMain(async () => {
  // The types of its packages are needed to check the benchmark.
  await ensureBenchPackages();
  const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
  let failed = 0;
  for (const project of PROJECTS.filter((file) => existsSync(join(ROOT, file)))) {
    const { code } = await run(process.execPath, [tsc, '--noEmit', '-p', join(ROOT, project)]);
    console.log(`${project}: ${code === 0 ? 'no errors' : 'errors, see above'}`);
    failed += code === 0 ? 0 : 1;
  }
  return failed === 0 ? 0 : 1;
});
