// The runner of the fault matrix: what it refuses. What it runs takes minutes and is not run here.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';

it('npm run faults names the fault files where a filter fits none, and runs nothing', () => {
  const file = fileURLToPath(new URL('./run.js', import.meta.url));
  const { status, stderr } = spawnSync(process.execPath, [file, 'no-such-fault'], { encoding: 'utf8' });
  assert.equal(status, 2);
  assert.match(stderr, /^error no-such-fault: .* broker-killed, cluster, connections-cut, .*\n$/);
});
