// A process that ends itself where the environment says, and only there.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'node:test';

const door = new URL('../../shards/index.js', import.meta.url).href;
const PROGRAM = `
  import { writeSync } from 'node:fs';
  import { killPoint } from '${door}';
  for (let k = 1; k <= 3; k++) {
    killPoint('chunk-appended', 1, k, 10);
    writeSync(1, 'chunk ');
    killPoint('before-ledger', 1, k);
    writeSync(1, 'ledger ');
  }`;

function runWith(at: string | undefined) {
  const env = { ...process.env, MEDIUM_RECIPE_KILL_AT: at };
  const { signal, status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', PROGRAM], {
    env,
    encoding: 'utf8',
  });
  return { signal, status, stdout, stderr };
}

describe('a kill point', () => {
  it('does nothing where the variable is unset, or names another', () => {
    const whole = 'chunk ledger '.repeat(3);
    for (const at of [
      undefined,
      'evaluation',
      'before-ledger:4',
      'before-ledger@2',
      'chunk-appended@1/2/1',
      'before-ledger@1/2:2',
    ]) {
      const { status, stdout } = runWith(at);
      assert.deepEqual([status, stdout], [0, whole], at);
    }
  });

  it('kills the process the first time, or the time or the place that is named', () => {
    for (const [at, done] of [
      ['chunk-appended', ''],
      ['before-ledger', 'chunk '],
      ['chunk-appended:2', 'chunk ledger '],
      ['before-ledger:3', 'chunk ledger chunk ledger chunk '],
      ['before-ledger@1', 'chunk '],
      ['before-ledger@1:2', 'chunk ledger chunk '],
      ['chunk-appended@1/3/10', 'chunk ledger chunk ledger '],
    ] as const) {
      const { signal, stdout } = runWith(at);
      assert.deepEqual([signal, stdout], ['SIGKILL', done], at);
    }
  });

  it('refuses a name that there is not, rather than let a test pass that kills nothing', () => {
    for (const at of ['nowhere', 'constructor', 'before-ledger:0', 'before-ledger@', '']) {
      const { status, stdout, stderr } = runWith(at);
      assert.equal(status, 1, at);
      assert.equal(stdout, '');
      assert.match(stderr, /kill-point-unknown/);
    }
  });
});
