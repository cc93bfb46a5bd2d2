/**
 * `npm run test:node -- 22`: runs the main parts of the Jest suite on another major version of Node, which comes as
 * an npm package (a program for this platform, nothing else) into `.cache/`.
 */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureNpm, runNpm } from './lib/ensure-npm.mjs';
import { runJest } from './lib/jest.mjs';
import { CACHE, ROOT } from './lib/paths.mjs';
import { run } from './lib/run.mjs';
import { runMain, SetupError } from './lib/setup-error.mjs';

/** Where other versions of Node may differ: bytes, HTTP/2, Nest on top of both, and HTTP/2 over what is no socket. */
const PARTS = ['protocol', 'transport', 'nest', 'testing'];
const PLATFORMS = ['linux-x64', 'linux-arm64'];

await runMain(async () => {
  const major = Number(process.argv[2]);
  if (!Number.isInteger(major)) {
    throw new SetupError(`Which Node? Expected a major version such as 22, got "${process.argv[2] ?? ''}".`);
  }
  const platform = `${process.platform}-${process.arch}`;
  if (!PLATFORMS.includes(platform)) {
    console.log(
      `Skipped: no npm package brings Node ${major} to ${platform} (only to ${PLATFORMS.join(', ')}).`,
    );
    return 0;
  }
  const parts = PARTS.map((part) => join('test', part)).filter((part) => existsSync(join(ROOT, part)));
  if (parts.length === 0) throw new SetupError(`None of test/{${PARTS.join(',')}} is there.`);

  await ensureNpm();
  const node = await ensureNode(major, platform);
  const reports = join(CACHE, `test-report-${process.pid}`);
  mkdirSync(reports, { recursive: true });
  try {
    const { name, passed, failed, skipped, faults } = await runJest(parts, {
      reports,
      node,
      name: `Node ${major}`,
    });
    for (const fault of faults) console.log(`failed: ${fault}`);
    console.log(`\n${name}: ${passed} passed, ${failed} failed, ${skipped} skipped`);
    return failed === 0 ? 0 : 1;
  } finally {
    rmSync(reports, { recursive: true, force: true });
  }
});

/** The path of a Node program of that major version. */
async function ensureNode(major, platform) {
  const folder = join(CACHE, `node-${major}`);
  const name = `node-${platform}`;
  const program = join(folder, 'node_modules', name, 'bin', 'node');
  if (!existsSync(program)) {
    mkdirSync(folder, { recursive: true });
    // A package.json of its own keeps npm from taking the repository's for this one.
    writeFileSync(join(folder, 'package.json'), '{"private":true}\n');
    const { code } = await runNpm(['install', '--no-audit', '--no-fund', `${name}@${major}`], {
      cwd: folder,
    });
    if (code !== 0) throw new SetupError(`"npm install ${name}@${major}" failed; its own words are above.`);
  }
  const { code, output } = await run(program, ['--version'], { quiet: true });
  if (code !== 0) throw new SetupError(`${program} does not run here: ${output.trim()}`);
  console.log(`Node ${output.trim()}`);
  return program;
}
