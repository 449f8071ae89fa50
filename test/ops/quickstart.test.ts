// The quickstart's folder and its end: nobody else's files go, and nothing of its own stays.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { makeAnew } from '../../ops/quickstart/out.ts';
import { run, start, until } from '../commands.ts';
import { temporaryFolder } from '../packed.ts';

/** Command lines of the processes, other than this one, that name the folder. */
async function processesOf(folder: string): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  return lines.filter((line) => line.includes(folder)).map((line) => line.replaceAll('\0', ' '));
}

test('a folder of its own is emptied again and again; a new or an empty one becomes its own', async () => {
  for (const out of [join(temporaryFolder(), 'a', 'b'), temporaryFolder()])
    for (let time = 0; time < 3; time++) {
      await makeAnew(out);
      assert.deepEqual(await readdir(out), ['.quickstart']);
      await writeFile(join(out, 'summary.json'), '{}');
    }
});

test('a folder that it did not make is refused and stays as it is; so is a file', async () => {
  const home = temporaryFolder();
  await writeFile(join(home, 'thesis.tex'), 'years of work');
  for (const out of [home, join(home, 'thesis.tex')]) {
    const { code, stderr } = await run('ops', ['quickstart', '--out', out]);
    assert.equal(code, 1, stderr);
    assert.match(stderr, /^error out-taken: .*; expected .*\.quickstart.*; /m);
  }
  assert.deepEqual(await readdir(home), ['thesis.tex']);
  assert.equal(await readFile(join(home, 'thesis.tex'), 'utf8'), 'years of work');
});

suite('quickstart', { timeout: 120_000, skip: !existsSync('/proc/self/cmdline') && 'needs /proc' }, () => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    test(`${signal} stops all that it started`, async () => {
      const out = join(temporaryFolder(), 'out');
      const quickstart = start('ops', ['quickstart', '--out', out, '--backend', 'wasm']);
      await until(quickstart, async () => (await processesOf(out)).some((line) => / produce /.test(line)));
      quickstart.child.kill(signal);
      const { code, stderr } = await quickstart.ended;
      assert.equal(code, 1, stderr);
      assert.match(stderr, new RegExp(`^error interrupted: ${signal}; `, 'm'));
      assert.deepEqual(await processesOf(out), []);
    });

  test('where the producer fails the trainer is stopped, and the producer’s Fault is the one told', async () => {
    const out = join(temporaryFolder(), 'out');
    const { code, stderr } = await run('ops', [
      'quickstart',
      '--out',
      out,
      '--backend',
      'wasm',
      '--seed',
      '4294967296',
    ]);
    assert.equal(code, 2, stderr);
    assert.match(stderr, /^error recipe-invalid: stream produce: .*seed/m);
    assert.deepEqual(await processesOf(out), []);
  });
});
