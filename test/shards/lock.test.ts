import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Fault, lockFolder } from '#shards';

async function inFolder(body: (out: string) => Promise<void>): Promise<void> {
  const parent = await mkdtemp(join(tmpdir(), 'lock-test-'));
  try {
    await body(join(parent, 'out'));
  } finally {
    await rm(parent, { recursive: true, force: true });
  }
}

const locked = (error: unknown) => error instanceof Fault && error.code === 'out-locked';

/** The number of a process that has just ended. */
async function deadPid(): Promise<number> {
  const child = spawn(process.execPath, ['-e', '']);
  await once(child, 'exit');
  assert.ok(child.pid);
  return child.pid;
}

test('one lock at a time; released, it can be taken again, and nothing else lies about', async () => {
  await inFolder(async (out) => {
    const lock = await lockFolder(out);
    assert.deepEqual(await readdir(out), ['lock']);
    await assert.rejects(lockFolder(out), locked);
    assert.deepEqual(await readdir(out), ['lock']);
    await lock.release();
    assert.deepEqual(await readdir(out), []);
    await (await lockFolder(out)).release();
  });
});

test('the lock of a process that is gone is taken over', async () => {
  await inFolder(async (out) => {
    await (await lockFolder(out)).release();
    await writeFile(join(out, 'lock'), JSON.stringify({ pid: await deadPid(), started: '1', host: hostname() }));
    const lock = await lockFolder(out);
    assert.equal(JSON.parse(await readFile(join(out, 'lock'), 'utf8')).pid, process.pid);
    await lock.release();
  });
});

test('a number that another process has by now is no owner', {
  skip: process.platform !== 'linux' && 'needs /proc',
}, async () => {
  await inFolder(async (out) => {
    await (await lockFolder(out)).release();
    await writeFile(join(out, 'lock'), JSON.stringify({ pid: process.pid, started: '1', host: hostname() }));
    await (await lockFolder(out)).release();
  });
});

test('another machine’s lock, and one that cannot be read, are left alone', async () => {
  await inFolder(async (out) => {
    await (await lockFolder(out)).release();
    for (const text of [JSON.stringify({ pid: 1, started: null, host: 'elsewhere.invalid' }), 'nonsense']) {
      await writeFile(join(out, 'lock'), text);
      await assert.rejects(lockFolder(out), locked);
      assert.equal(await readFile(join(out, 'lock'), 'utf8'), text);
    }
  });
});

test('of many that find a stale lock at once, exactly one gets it', async () => {
  await inFolder(async (out) => {
    await (await lockFolder(out)).release();
    await writeFile(join(out, 'lock'), JSON.stringify({ pid: await deadPid(), started: '1', host: hostname() }));
    const door = new URL('../../shards/lock.js', import.meta.url).href;
    // Each holds what it got until it is told to end, so that two holders would overlap.
    const script = `
      const { lockFolder } = await import(${JSON.stringify(door)});
      const got = await lockFolder(${JSON.stringify(out)}).then(() => true, (error) => {
        if (error.code !== 'out-locked') throw error;
        return false;
      });
      process.stdout.write(got ? 'got\\n' : 'refused\\n');
      process.stdin.resume();
    `;
    const children = Array.from({ length: 6 }, () =>
      spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['pipe', 'pipe', 'inherit'] }),
    );
    try {
      const answers = await Promise.all(
        children.map(async (child) => String((await once(child.stdout, 'data'))[0]).trim()),
      );
      assert.deepEqual(answers.filter((answer) => answer === 'got').length, 1, answers.join());
    } finally {
      await Promise.all(
        children.map(async (child) => {
          const ended = child.exitCode === null ? once(child, 'exit') : undefined;
          child.kill('SIGKILL');
          await ended;
        }),
      );
    }
  });
});
