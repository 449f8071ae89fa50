// What a test needs of the machine: it skips aloud where that is missing, and fails instead where it is required.

import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { jarFolder } from '../ops/kafka/jars.ts';
import { nativeState, packageRoot, which } from '../ops/setup/plain.ts';

export type Requirement = 'kafka' | 'tfjs-node' | 'parity' | 'python' | 'mpi';

const native = await nativeState();

/** Why the machine lacks it, with the remedy; null when it is there. */
const missing: Record<Requirement, () => string | null> = {
  kafka: () => {
    if (!process.env['JAVA_HOME'] && which('java') === null) return 'no java on PATH: install Java 17';
    return existsSync(jarFolder()) || which('mvn') !== null ? null : 'no mvn on PATH and no Kafka in the cache';
  },
  'tfjs-node': () => (native.ready ? null : `${native.reason}: npm run setup`),
  parity: () => {
    const cases = fileURLToPath(new URL('test/parity/cases', packageRoot));
    if (!existsSync(cases) || readdirSync(cases).length === 0) return 'no cases in test/parity/cases';
    return missing['tfjs-node']();
  },
  mpi: () => (which('mpirun') === null ? 'no mpirun on PATH: install Open MPI (Debian: openmpi-bin)' : null),
  python: () => (imports('pip') ? null : 'no python3 with pip on PATH'),
};

function imports(module: string): boolean {
  try {
    execFileSync('python3', ['-c', `import ${module}`], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/**
 * For a test's options: `test('…', requirement('kafka'), async () => …)`. MEDIUM_RECIPE_REQUIRE lists what must not be
 * skipped (`npm test` with CI=true sets it): there the file fails with the reason.
 */
export function requirement(name: Requirement): { skip: string | false } {
  const reason = missing[name]();
  const required = (process.env['MEDIUM_RECIPE_REQUIRE'] ?? '').split(',');
  if (reason !== null && required.includes(name)) throw new Error(`${name} is required here, but: ${reason}`);
  return { skip: reason ?? false };
}
