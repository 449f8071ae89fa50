// What a person gets wrong ends with one line (received, expected, remedy) and the right exit code, and leaves nothing.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { type Ended, run } from '../commands.ts';
import { PHOTOS, packPhotos, temporaryFolder } from '../packed.ts';

/** One line `error CODE: …; expected …; …`, no stack. */
function assertFault({ code, stderr }: Ended, exit: number, pattern: RegExp): void {
  const errors = stderr.split('\n').filter((line) => line.startsWith('error '));
  assert.equal(errors.length, 1, stderr);
  assert.match(errors[0] ?? '', pattern);
  assert.match(errors[0] ?? '', /; expected .+; .+/);
  assert.doesNotMatch(stderr, /\n\s+at /);
  assert.equal(code, exit, stderr);
}

describe('preprocess shard', () => {
  async function photos(): Promise<{ source: string; out: string; dir: string }> {
    const dir = temporaryFolder();
    const source = join(dir, 'photos');
    await cp(PHOTOS, source, { recursive: true });
    return { source, out: join(dir, 'shards'), dir };
  }
  const shard = (source: string, out: string) =>
    run('preprocess', ['shard', '--source', source, '--out', out, '--buckets', '16:24']);

  it('of a missing folder', async () => {
    const dir = temporaryFolder();
    assertFault(await shard(join(dir, 'nowhere'), join(dir, 'out')), 1, /nowhere/);
    assert.deepEqual(await readdir(dir), []);
  });

  it('of an empty class', async () => {
    const { source, out, dir } = await photos();
    await mkdir(join(source, 'train', 'n09999999'));
    assertFault(await shard(source, out), 1, /empty-class: .*n09999999/);
    assert.deepEqual(await readdir(dir), ['photos']);
  });

  it('of a text file named .JPEG', async () => {
    const { source, out, dir } = await photos();
    await writeFile(join(source, 'train', 'n04587559', 'note.JPEG'), 'not a photo at all, but a note');
    assertFault(await shard(source, out), 1, /not-an-image.*note\.JPEG.*--on-error skip/);
    assert.deepEqual(await readdir(dir), ['photos']);
  });

  it('of a truncated JPEG', async () => {
    const { source, out, dir } = await photos();
    const photo = join(source, 'train', 'n04587559', 'n04587559_001.JPEG');
    await truncate(photo, (await readFile(photo)).length / 2);
    assertFault(await shard(source, out), 1, /truncated.*n04587559_001\.JPEG/);
    assert.deepEqual(await readdir(dir), ['photos']);
  });

  it('with an unknown option is wrong usage', async () => {
    assert.equal((await run('preprocess', ['shard', '--sauce', 'x'])).code, 2);
  });
});

describe('stream and trainer', () => {
  let shards: string;
  before(async () => {
    shards = await packPhotos('48:64,64:72,80:88');
  });
  const produce = (more: readonly string[], transport: string) =>
    run('stream', ['produce', '--shards', shards, '--run', 'bad', '--transport', transport, ...more]);
  const newLog = () => `log:${join(temporaryFolder(), 'log')}`;

  it('a recipe with a typo in a key', async () => {
    const dir = temporaryFolder();
    const recipe = join(dir, 'typo.yaml');
    const text = await readFile(new URL('../../../stream/recipes/quickstart.yaml', import.meta.url), 'utf8');
    await writeFile(recipe, text.replace('labelSmoothing', 'labelSmoothnig'));
    assertFault(
      await produce(['--recipe', recipe], `log:${join(dir, 'log')}`),
      2,
      /'labelSmoothnig'; expected one of .*labelSmoothing/,
    );
    assert.deepEqual(await readdir(dir), ['typo.yaml']);
  });

  it('a taken run name with another plan', async () => {
    const log = newLog();
    const short = ['--recipe', 'quickstart', '--set', 'phases=[{resolution: 48, epochs: 1, batch: 16}]'];
    assert.equal((await produce(short, log)).code, 0);
    assertFault(await produce([...short, '--set', 'seed=7'], log), 1, /run-taken: plan\.seed = 7; expected 0/);
    assert.equal((await produce(short, log)).code, 0, 'the run itself is unharmed');
  });

  it('a bucket that was not packed, a missing dataset, a bad transport', async () => {
    const other = ['--recipe', 'quickstart', '--set', 'phases=[{resolution: 128, epochs: 1, batch: 16}]'];
    assertFault(await produce(other, newLog()), 1, /bucket-missing.*--buckets 128/);
    const nowhere = ['produce', '--shards', join(temporaryFolder(), 'none'), '--recipe', 'quickstart', '--run', 'bad'];
    assertFault(await run('stream', [...nowhere, '--transport', newLog()]), 1, /preprocess shard/);
    assertFault(await produce(['--recipe', 'quickstart'], 'redis://127.0.0.1:1'), 2, /bad-transport/);
  });

  it('an unreachable broker, for producer and trainer', async () => {
    const port = await freePort();
    const url = `kafka://127.0.0.1:${port}`;
    const out = temporaryFolder();
    const ends = await Promise.all([
      produce(['--recipe', 'quickstart'], url),
      run('trainer', ['consume', '--run', 'bad', '--transport', url, '--out', out]),
    ]);
    for (const end of ends) assertFault(end, 1, new RegExp(`transport-unreachable: .*${port}`));
    assert.deepEqual(
      (await readdir(out)).filter((name) => name !== 'trainer-id'),
      [],
    );
  });

  it('a run that nobody has begun, in a log and in none', async () => {
    const log = newLog();
    const consume = ['consume', '--transport', log, '--out', temporaryFolder(), '--wait', '0', '--run'];
    assertFault(await run('trainer', [...consume, 'nobody']), 1, /log-missing: no log at/);
    assertFault(await run('stream', ['status', '--transport', log, '--run', 'nobody']), 1, /log-missing: no log at/);
    assert.deepEqual(existsSync(log.slice('log:'.length)), false);
    const short = ['--recipe', 'quickstart', '--set', 'phases=[{resolution: 48, epochs: 1, batch: 16}]'];
    assert.equal((await produce(short, log)).code, 0);
    assertFault(await run('trainer', [...consume, 'nobody']), 1, /run-missing: no run 'nobody'/);
    const inspect = ['inspect', '--transport', log, '--run', 'bad', '--step', '2', '--image', '/no/such/folder/x.png'];
    assertFault(await run('stream', inspect), 1, /image-not-written/);
  });

  it('a setting that would change the stream, and one that does not exist', async () => {
    const log = newLog();
    assert.equal(
      (await produce(['--recipe', 'quickstart', '--set', 'phases=[{resolution: 48, epochs: 1, batch: 16}]'], log)).code,
      0,
    );
    const consume = ['consume', '--run', 'bad', '--transport', log, '--out', temporaryFolder(), '--backend', 'wasm'];
    assertFault(
      await run('trainer', [...consume, '--set', 'mixup=false']),
      2,
      /set-changes-stream: .*phases\.0\.mixup/,
    );
    assertFault(await run('trainer', [...consume, '--set', 'sam.roh=1']), 2, /recipe-invalid/);
  });

  it('an OUT that holds checkpoints, without --resume; a resume with another recipe', async () => {
    const log = newLog();
    const out = temporaryFolder();
    const recipe = ['--recipe', 'quickstart', '--set', 'phases=[{resolution: 48, epochs: 1, batch: 16}]'];
    assert.equal((await produce([...recipe, '--set', 'model.width=4'], log)).code, 0);
    const consume = ['consume', '--run', 'bad', '--transport', log, '--out', out, '--backend', 'wasm'];
    const first = await run('trainer', consume);
    assert.equal(first.code, 0, first.stderr);
    assertFault(await run('trainer', consume), 1, /out-taken: .*checkpoint-00000005.*--resume/);
    assertFault(
      await run('trainer', [...consume, '--resume', '--set', 'optimizer.momentum=0.8']),
      1,
      /recipe\.optimizer\.momentum = 0\.8; expected 0\.9/,
    );
  });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return address !== null && typeof address === 'object' ? address.port : 0;
}
