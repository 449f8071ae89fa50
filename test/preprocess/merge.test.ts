import assert from 'node:assert/strict';
import { appendFile, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { merge, PACK_DEFAULTS, type PackOptions, pack, packPart } from '#preprocess';
import { Fault, parseBuckets } from '#shards';
import { temporaryFolder } from '../shards/dataset.ts';
import { photos, treeOf, writeFiles } from './photos.ts';

const fault =
  (code: string, says = '') =>
  (error: unknown) =>
    error instanceof Fault && error.code === code && error.message.includes(says);

interface Machines {
  readonly dir: string;
  readonly options: Omit<PackOptions, 'part' | 'out'>;
  part(index: number, of: number, more?: Partial<PackOptions>): Promise<string>;
}

/** A folder of sources with one reject, and machines that pack parts of it. */
async function machines(t: TestContext): Promise<Machines> {
  const dir = await temporaryFolder(t);
  const options = {
    ...PACK_DEFAULTS,
    source: await writeFiles(join(dir, 'source'), { ...(await photos()), 'train/cat/broken.JPEG': 'text' }),
    buckets: parseBuckets('16:20,32:40'),
    workers: 1,
    onError: 'skip' as const,
    shardSamples: 3,
  };
  return {
    dir,
    options,
    async part(index, of, more = {}) {
      const out = join(dir, `part-${index}-of-${of}`);
      await packPart({ ...options, ...more, out, part: { index, of } });
      return out;
    },
  };
}

test('any number of parts, joined in any order, is what one machine writes, byte for byte', async (t) => {
  const { dir, options, part } = await machines(t);
  await pack({ ...options, out: join(dir, 'whole') });
  const whole = await treeOf(join(dir, 'whole'));
  for (const of of [1, 2, 5]) {
    const parts: string[] = [];
    for (let index = of; index >= 1; index--) parts.push(await part(index, of));
    const out = join(dir, `joined-${of}`);
    await merge({ out, parts, resume: false });
    assert.deepEqual(await treeOf(out), whole);
  }
});

test('a missing, a doubled, a damaged, an unfinished and a foreign part are refused by name', async (t) => {
  const { dir, part } = await machines(t);
  const parts = [await part(1, 2), await part(2, 2)] as const;
  const out = join(dir, 'out');
  const joined = (...dirs: string[]) => merge({ out, parts: dirs, resume: false });
  await assert.rejects(joined(parts[0]), fault('parts-missing', 'all 2 parts'));
  await assert.rejects(joined(parts[0], parts[0], parts[1]), fault('part-twice', 'train-000000'));
  await assert.rejects(joined(parts[0], join(dir, 'none')), fault('no-part'));
  const foreign = await part(3, 3, { seed: 1 });
  await assert.rejects(joined(...parts, foreign), fault('job-differs', 'seed 1'));
  const json = await readFile(join(parts[1], 'part.json'), 'utf8');
  await writeFile(join(parts[1], 'part.json'), json.replace('"samples":3', '"samples":2'));
  await assert.rejects(joined(...parts), fault('part-damaged', 'sha256'));
  await writeFile(join(parts[1], 'part.json'), json);
  await appendFile(join(parts[0], '16/train-000000.tar'), 'x');
  await assert.rejects(joined(...parts), fault('shard-damaged', 'train-000000.tar'));
  await rm(join(parts[0], '16/train-000000.tar'));
  await assert.rejects(joined(...parts), fault('shard-missing', 'train-000000.tar'));
});

test('more parts than shards are refused, and the error says how many there can be', async (t) => {
  const { part } = await machines(t);
  await assert.rejects(part(6, 6), fault('empty-part', 'at most 5 parts'));
});
