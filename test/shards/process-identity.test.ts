import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { identityOf, lives } from '../../shards/process-identity.ts';

describe('a process', () => {
  it('lives until it has ended, under its own number', async () => {
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
    await once(child, 'spawn');
    const identity = await identityOf(child.pid as number);
    assert.ok(await lives(identity));
    assert.ok(await lives({ ...identity, host: 'another machine' }), 'which cannot be seen from here');
    child.kill('SIGKILL');
    await once(child, 'close');
    assert.equal(await lives(identity), false);
  });

  const linux = { skip: existsSync('/proc/self/stat') ? false : 'no /proc' };
  it('that was another of the same number is gone, and so is one that nobody asked how it ended', linux, async () => {
    const own = await identityOf(process.pid);
    assert.ok(await lives(own));
    assert.equal(await lives({ ...own, started: '1' }), false);

    // What the shell becomes never asks after its child.
    const parent = spawn('sh', ['-c', 'sleep 0.2 & exec sleep 60']);
    try {
      const children = `/proc/${parent.pid}/task/${parent.pid}/children`;
      let pid = Number.NaN;
      while (!(pid > 0)) pid = Number((await readFile(children, 'utf8')).trim() || Number.NaN);
      const identity = await identityOf(pid);
      while (!(await readFile(`/proc/${pid}/stat`, 'utf8')).includes(') Z ')) await sleep(20);
      process.kill(pid, 0);
      assert.equal(await lives(identity), false);
    } finally {
      parent.kill('SIGKILL');
    }
  });
});
