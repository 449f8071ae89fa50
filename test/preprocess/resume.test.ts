import assert from 'node:assert/strict';
import { rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { PACK_DEFAULTS, type PackOptions, pack } from '#preprocess';
import { Fault, parseBuckets } from '#shards';
import { temporaryFolder } from '../shards/dataset.ts';
import { jpeg, photos, treeOf, writeFiles } from './photos.ts';

const BAD = 'val/cat/bad.JPEG';

interface Ended {
  readonly out: string;
  readonly source: string;
  readonly notices: string[];
  /** Goes on; with a photo in the bad one's place it comes to the end. */
  resume(options?: Partial<PackOptions>): Promise<void>;
  /** The tree of a run that nothing has stopped. */
  whole(): Promise<Record<string, string>>;
}

/** A run that has packed train and was ended by a bad file in val. */
async function ended(t: TestContext): Promise<Ended> {
  const dir = await temporaryFolder(t);
  const source = await writeFiles(join(dir, 'source'), { ...(await photos()), [BAD]: 'text' });
  const out = join(dir, 'out');
  const notices: string[] = [];
  const options = {
    ...PACK_DEFAULTS,
    source,
    out,
    buckets: parseBuckets('16:20,32:40'),
    workers: 2,
    shardSamples: 4,
    onNotice: (notice: string) => notices.push(notice),
  };
  await assert.rejects(pack(options), fault('not-an-image'));
  return {
    out,
    source,
    notices,
    resume: async (more) => void (await pack({ ...options, resume: true, ...more })),
    whole: async () => {
      await pack({ ...options, out: join(dir, 'whole') });
      return treeOf(join(dir, 'whole'));
    },
  };
}

const fault = (code: string) => (error: unknown) => error instanceof Fault && error.code === code;
const mend = async (source: string): Promise<void> => writeFile(join(source, BAD), await jpeg(50, 50));

test('a finished shard that has lost a file, or part of one, is packed again and told', async (t) => {
  const { out, source, notices, resume, whole } = await ended(t);
  await rm(join(out, '16/train-000000.tar'));
  await truncate(join(out, '32/train-000001.idx'), 5);
  await truncate(join(out, '.packing/groups/train-000002.json'), 20);
  await mend(source);
  await resume();
  assert.deepEqual(await treeOf(out), await whole());
  assert.equal(notices.filter((notice) => notice.startsWith('3 finished shards')).length, 1);
});

test('what an earlier run has finished stays when the next one fails, whatever is missing of it', async (t) => {
  const { out, source, resume, whole } = await ended(t);
  await rm(join(out, '.packing/groups/train-000000.json'));
  const stopped = new AbortController();
  stopped.abort(new Fault({ code: 'interrupted', received: '', expected: '', remedy: '' }));
  await assert.rejects(resume({ signal: stopped.signal }), fault('interrupted'));
  const files = Object.keys(await treeOf(out));
  assert.ok(files.includes('16/train-000001.tar') && files.includes('.packing/groups/train-000001.json'));
  await mend(source);
  await resume();
  assert.deepEqual(await treeOf(out), await whole());
});

test('records without the job that they belong to are refused, and nothing is touched', async (t) => {
  const { out, resume } = await ended(t);
  await rm(join(out, '.packing/job.json'));
  const before = await treeOf(join(out, '16'));
  await assert.rejects(resume({ seed: 7 }), fault('state-damaged'));
  assert.deepEqual(await treeOf(join(out, '16')), before);
});

test('another seed, other buckets and a changed list of sources are refused by name, and nothing is touched', async (t) => {
  const { out, source, resume } = await ended(t);
  const before = await treeOf(join(out, '16'));
  const refused = (path: string, options: Partial<PackOptions> = {}) =>
    assert.rejects(
      resume(options),
      (error) => error instanceof Fault && error.code === 'job-differs' && error.received.startsWith(path),
    );
  await refused('seed', { seed: 1 });
  await refused('buckets', { buckets: parseBuckets('16:20') });
  await refused('fingerprint.resize.quality', { pixels: { ...PACK_DEFAULTS.pixels, quality: 80 } });
  await rm(join(source, BAD));
  await refused('sources.val.count');
  assert.deepEqual(await treeOf(join(out, '16')), before);
});

test('a target inside the photos is refused, because the next scan would take it for photos', async (t) => {
  const { source, resume } = await ended(t);
  await assert.rejects(resume({ out: join(source, 'train/cat/packed') }), fault('target-in-source'));
});
