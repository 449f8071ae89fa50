// A replay gives the stream's bytes once more, out of the log or from the shards, and finds what differs.

import assert from 'node:assert/strict';
import { cp, open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { PACK_DEFAULTS, pack } from '#preprocess';
import { type Fault, openSplit, parseBuckets, readManifest } from '#shards';
import { differingParts } from '../../stream/fingerprint-parts.ts';
import { encodeLedger, type LedgerRecord, StepDigest } from '../../stream/ledger.ts';
import { encodeMeta, type RunMeta, readMeta } from '../../stream/meta.ts';
import { lanesOfRank } from '../../stream/ranks.ts';
import { FINGERPRINT } from '../../stream/render.ts';
import { type Replay, type ReplayOptions, replay } from '../../stream/replay.ts';
import { metaSpec, topicSpecs, topicsOf } from '../../stream/topics.ts';
import { openTransport } from '../../stream/transport/index.ts';
import type { Transport } from '../../stream/transport/transport.ts';
import { run as runCommand } from '../commands.ts';
import { PHOTOS, packPhotos, temporaryFolder } from '../packed.ts';
import { smallRecipe } from './fixtures.ts';
import { produceSmall, recordsOf } from './producing.ts';

/** Records of all sizes: of the last step's, larger than most, each lane has two; from 48 px on they lie in files of the log. */
const recipe = smallRecipe({
  lanes: 4,
  phases: [
    { resolution: 16, epochs: 1, batch: 8 },
    { resolution: 48, epochs: 1, batch: 16 },
    { resolution: 128, epochs: 1, batch: 84, fixres: {} },
  ],
});
const RUN = 'replayed';
const STEPS = 16;
const LANE_STEPS = 4 * STEPS;
const RECORDS = LANE_STEPS + 4;
const BUCKETS = '16:24,48:56,128:144';

let shards: string;
let folder: string;
let transport: Transport;
let meta: RunMeta;

async function metaOf(log: Transport): Promise<RunMeta> {
  const found = await readMeta(log, RUN);
  assert.ok(found);
  return found;
}

before(async () => {
  shards = await packPhotos(BUCKETS);
  folder = join(temporaryFolder(), 'log');
  transport = await openTransport(`log:${folder}`);
  await produceSmall({ transport, run: RUN, shards, recipe });
  meta = await metaOf(transport);
  assert.equal(meta.plan.steps, STEPS);
});
after(() => transport.close());

function replaySmall(options: Partial<ReplayOptions> = {}): Promise<Replay> {
  return replay({
    transport,
    run: RUN,
    meta,
    lanes: lanesOfRank(meta.plan, 0, 1),
    shards: null,
    verify: false,
    signal: new AbortController().signal,
    onStep: () => {},
    ...options,
  });
}

const fromShards = (dir = shards, allowOtherFingerprint = false, workers = 1) => ({
  shards: { dir, workers, allowOtherFingerprint },
});

async function trainLedger(log = transport): Promise<LedgerRecord[]> {
  const records = (await recordsOf(log, topicsOf(RUN).ledger)).flat();
  return records.map((value) => JSON.parse(value.toString()) as LedgerRecord).filter(({ step }) => step >= 0);
}

const inOrder = (records: LedgerRecord[]) => records.sort((a, b) => a.step - b.step || a.lane - b.lane);

/** What a replay's digest must be, from the ledger alone. */
async function digestOf(keep: (record: LedgerRecord) => boolean = () => true): Promise<string> {
  const digests = new Map(
    (await trainLedger()).filter(keep).map((record) => [`${record.step} ${record.lane}`, record]),
  );
  const digest = new StepDigest();
  digest.begin();
  digest.add(
    Buffer.from(
      inOrder([...digests.values()])
        .map((record) => record.digest)
        .join(''),
    ),
  );
  return digest.end();
}

/** File name → content of a folder, all of it. */
async function contentOf(dir: string): Promise<Map<string, Buffer>> {
  const names = (await readdir(dir)).sort();
  return new Map(await Promise.all(names.map(async (name) => [name, await readFile(join(dir, name))] as const)));
}

describe('a replay', () => {
  it('has one digest, from the log and from the shards, with 1 and 2 workers: that of the ledger', async () => {
    const log = await replaySmall();
    assert.equal(log.digest, await digestOf());
    assert.deepEqual([log.steps, log.laneSteps, log.proved, log.differing], [STEPS, LANE_STEPS, LANE_STEPS, 0]);
    for (const workers of [1, 2]) {
      const rendered = await replaySmall({ ...fromShards(shards, false, workers), verify: true });
      const { counters: _, ...same } = rendered;
      assert.deepEqual(same, {
        ...same,
        digest: log.digest,
        proved: LANE_STEPS,
        bytes: log.bytes,
        records: log.records,
      });
    }
  });

  it('is of any range of steps, the last one left out', async () => {
    const within = ({ step }: LedgerRecord) => step >= 8 && step < 12;
    const log = await replaySmall({ fromStep: 8, toStep: 12 });
    assert.deepEqual([log.steps, log.fromStep, log.toStep, log.digest], [4, 8, 12, await digestOf(within)]);
    assert.equal((await replaySmall({ ...fromShards(), fromStep: 8, toStep: 12 })).digest, log.digest);
    for (const [fromStep, toStep] of [
      [3, 3],
      [5, 4],
      [0, STEPS + 1],
      [STEPS, undefined],
    ])
      await assert.rejects(replaySmall({ fromStep, toStep }), { code: 'step-out-of-range', exit: 2 });
  });

  it('ends where a lane has no more steps, and names a step that is asked for beyond', async () => {
    const log = await openTransport(`log:${join(temporaryFolder(), 'behind')}`);
    try {
      await copyRun(log, { keep: ({ lane, step }) => lane !== 2 || step < 6 });
      assert.equal((await replaySmall({ transport: log })).toStep, 6);
      await assert.rejects(replaySmall({ transport: log, toStep: 7 }), {
        code: 'step-not-produced',
        message: /the 6 steps/,
      });
    } finally {
      await log.close();
    }
  });

  it('stops at a signal', async () => {
    const stop = new AbortController();
    const replaying = replaySmall({
      ...fromShards(),
      signal: stop.signal,
      onStep: ({ step }) => step === 3 && stop.abort(),
    });
    await assert.rejects(replaying, { code: 'interrupted', message: /--from-step 4/ });
  });
});

describe("a replay's files", () => {
  it('are the records, sorted by name as by step, lane and chunk; the ranks’ together are the whole', async () => {
    const [whole, rendered] = [join(temporaryFolder(), 'whole'), join(temporaryFolder(), 'rendered')];
    const { files } = await replaySmall({ to: whole, verify: true });
    await replaySmall({ ...fromShards(), to: rendered });
    const content = await contentOf(whole);
    assert.deepEqual(await contentOf(rendered), content);
    assert.equal(content.size, files);
    assert.equal([...content.keys()][5], 'step-000001.lane-01.chunk-00.safetensors');

    const records: Buffer[] = [];
    const stored = new Map(
      await Promise.all(
        [16, 48, 128].map(async (resolution) => {
          const topic = topicsOf(RUN).train(resolution);
          return [topic, await recordsOf(transport, topic)] as const;
        }),
      ),
    );
    for (const { topic, lane, offset, end } of inOrder(await trainLedger()))
      records.push(...(stored.get(topic)?.[lane]?.slice(offset, end) ?? []));
    assert.equal(records.length, RECORDS);
    assert.deepEqual([...content.values()], records);

    for (const ranks of [2, 4]) {
      const joined = new Map<string, Buffer>();
      for (let rank = 0; rank < ranks; rank++) {
        const to = join(temporaryFolder(), 'rank');
        const { digest } = await replaySmall({ lanes: lanesOfRank(meta.plan, rank, ranks), to });
        assert.equal(digest, await digestOf(({ lane }) => Math.floor((lane * ranks) / 4) === rank));
        for (const [name, bytes] of await contentOf(to)) joined.set(name, bytes);
      }
      assert.deepEqual(new Map([...joined].sort(([a], [b]) => (a < b ? -1 : 1))), content);
    }
    await assert.rejects(replaySmall({ to: whole }), { code: 'folder-in-use', exit: 2 });
    const inFile = join(whole, 'step-000001.lane-01.chunk-00.safetensors', 'folder');
    await assert.rejects(replaySmall({ to: inFile }), { code: 'write-failed' });
  });

  it('are of a number of ranks that divides the lanes', () => {
    assert.deepEqual(lanesOfRank({ lanes: 12 }, 1, 3), [4, 5, 6, 7]);
    assert.throws(() => lanesOfRank({ lanes: 12 }, 0, 5), { code: 'ranks-uneven', message: /1, 2, 3, 4, 6, 12;/ });
    for (const rank of [-1, 3]) assert.throws(() => lanesOfRank({ lanes: 12 }, rank, 3), { code: 'rank-out-of-range' });
  });
});

interface CopyChange {
  readonly keep?: (record: LedgerRecord) => boolean;
  readonly meta?: Partial<RunMeta>;
  readonly ledger?: (record: LedgerRecord) => Partial<LedgerRecord>;
}

/** The run's train records, meta and ledger in another log, the latter two with changes. */
async function copyRun(log: Transport, change: CopyChange): Promise<void> {
  const { train, ledger, meta: metaTopic } = topicsOf(RUN);
  await log.createTopics([metaSpec(RUN), ...topicSpecs(RUN, meta.plan, 2 ** 33)]);
  await log.append(metaTopic, 0, encodeMeta({ ...meta, ...change.meta }));
  for (const topic of [train(16), train(48), train(128)])
    for (const [lane, values] of (await recordsOf(transport, topic)).entries())
      for (const value of values) await log.append(topic, lane, value);
  for (const record of await trainLedger())
    if (change.keep?.(record) ?? true)
      await log.append(ledger, record.lane, encodeLedger({ ...record, ...change.ledger?.(record) }));
}

/** Turns a bit in the only place of the files in `dir` where `bytes` stand, `at` bytes into them. */
async function flipBit(dir: string, bytes: Buffer, at: number): Promise<void> {
  let found = 0;
  for (const name of await readdir(dir, { recursive: true })) {
    const path = join(dir, name);
    const content = await readFile(path).catch(() => Buffer.alloc(0));
    const begin = content.indexOf(bytes);
    if (begin < 0) continue;
    found++;
    const file = await open(path, 'r+');
    await file.write(Buffer.from([(content[begin + at] as number) ^ 1]), 0, 1, begin + at);
    await file.close();
  }
  assert.equal(found, 1, 'the bytes stand in one file');
}

describe('damage', () => {
  /** Where a record's bit is turned → what the message says of it. */
  for (const [name, at, code] of [
    ['the last pixel', -1, 'digest-mismatch'],
    ['the length of the header', 0, 'safetensors-damaged'],
    ['the header', 8, 'safetensors-damaged'],
  ] as const)
    it(`of a stored record, in ${name}, is found and named by --verify, and the others are proved`, async () => {
      const damaged = join(temporaryFolder(), 'damaged');
      await cp(folder, damaged, { recursive: true });
      const entry = (await trainLedger()).find(({ step, lane }) => step === 15 && lane === 2);
      assert.ok(entry);
      const record = (await recordsOf(transport, entry.topic))[2]?.[entry.end - 1];
      assert.ok(record);
      await flipBit(join(damaged, 'segments'), record, at < 0 ? record.length + at : at);
      const log = await openTransport(`log:${damaged}`);
      try {
        const to = join(temporaryFolder(), 'files');
        const message = new RegExp(
          `1 of ${LANE_STEPS} lane-steps differ, ${LANE_STEPS - 1} are proved; the first: step 15, lane 2: ${code}.*--from-step 15`,
        );
        await assert.rejects(replaySmall({ transport: log, verify: true, to }), { code: 'replay-differs', message });
        const kept = await readdir(to);
        assert.equal(kept.length, RECORDS - 2);
        assert.ok(!kept.some((file) => file.includes('step-000015.lane-02') || file.endsWith('.tmp')));
        await assert.rejects(replaySmall({ transport: log }), { code, message: /step 15/ });
        assert.equal((await replaySmall({ transport: log, verify: true, ...fromShards() })).proved, LANE_STEPS);
      } finally {
        await log.close();
      }
    });

  it('of a shard whose manifest is as it was is found by the digests', async () => {
    const damaged = join(temporaryFolder(), 'shards');
    await cp(shards, damaged, { recursive: true });
    const index = await openSplit(shards, await readManifest(shards), 'train', 128);
    const { shard, offset, bytes } = index.locate(0);
    const path = join(damaged, shard);
    const jpeg = (await readFile(path)).subarray(offset, offset + bytes);
    await flipBit(damaged, jpeg, bytes >> 1);
    const { differing, proved } = await replaySmall(fromShards(damaged));
    assert.deepEqual([differing, proved], [1, LANE_STEPS - 1]);
    await assert.rejects(replaySmall({ ...fromShards(damaged), verify: true }), {
      code: 'replay-differs',
      message: /1 of 64 lane-steps differ.*the first: step 15, lane \d: digest/,
    });
  });

  it('of the ledger, which names a digest that neither log nor shards give', async () => {
    const log = await openTransport(`log:${join(temporaryFolder(), 'ledger')}`);
    try {
      const wrong = ({ step, lane }: LedgerRecord) => (step === 4 && lane > 0 ? { digest: '0'.repeat(32) } : {});
      await copyRun(log, { ledger: wrong });
      for (const source of [{}, fromShards()])
        await assert.rejects(replaySmall({ transport: log, verify: true, ...source }), {
          code: 'replay-differs',
          message: /3 of 64 lane-steps differ, 61 are proved; the first: step 4, lane 1/,
        });
      assert.equal((await replaySmall({ transport: log, ...fromShards() })).digest, await digestOf());
      const [record] = await trainLedger();
      assert.ok(record);
      await log.append(topicsOf(RUN).ledger, record.lane, encodeLedger({ ...record, digest: 'f'.repeat(32) }));
      await assert.rejects(replaySmall({ transport: log }), { code: 'ledger-contradiction' });
    } finally {
      await log.close();
    }
  });
});

it('steps that the log no longer holds are replayed from the shards, and from the log once they were made again', async () => {
  const log = await openTransport(`log:${join(temporaryFolder(), 'expired')}`);
  try {
    await produceSmall({ transport: log, run: RUN, shards, recipe });
    const { train } = topicsOf(RUN);
    for (const [lane, { end }] of (await log.ends(train(16))).entries()) await log.deleteBefore(train(16), lane, end);
    await assert.rejects(replaySmall({ transport: log, verify: true }), {
      code: 'step-expired',
      message: /--shards DIR/,
    });
    const rendered = await replaySmall({ transport: log, verify: true, ...fromShards() });
    assert.equal(rendered.digest, await digestOf());
    await produceSmall({ transport: log, run: RUN, shards, recipe, fromStep: 0 });
    const { digest, proved } = await replaySmall({ transport: log, verify: true });
    assert.deepEqual([digest, proved], [rendered.digest, LANE_STEPS]);
  } finally {
    await log.close();
  }
});

describe('what a replay renders with', () => {
  const other = FINGERPRINT.replace(/resize@\d+/, 'resize@1');

  it('is refused by name where it is not what the run was made with, or allowed and counted', async () => {
    const log = await openTransport(`log:${join(temporaryFolder(), 'other')}`);
    try {
      // Two lane-steps differ, as they would where another kernel made them.
      await copyRun(log, {
        meta: { fingerprint: other },
        ledger: ({ step, lane }) => ({
          fingerprint: other,
          ...(step === 7 && lane < 2 ? { digest: '0'.repeat(32) } : {}),
        }),
      });
      const theirs = { transport: log, meta: await metaOf(log), verify: true };
      await assert.rejects(replaySmall({ ...theirs, ...fromShards() }), {
        code: 'fingerprint-differs',
        message: /run 'replayed': kernel resize@\d+; expected kernel resize@1,/,
      });
      const allowed = await replaySmall({ ...theirs, ...fromShards(shards, true) });
      const { otherFingerprint, differing, differingByFingerprint, proved, digest } = allowed;
      assert.deepEqual(
        [otherFingerprint, differing, differingByFingerprint, proved],
        [LANE_STEPS, 2, 2, LANE_STEPS - 2],
      );
      assert.equal(digest, await digestOf());
    } finally {
      await log.close();
    }
  });

  it('is refused at a step whose fingerprint alone is another', async () => {
    const log = await openTransport(`log:${join(temporaryFolder(), 'step')}`);
    try {
      const sharp = { fingerprint: `${FINGERPRINT}+sharp@0.1.0-libvips@8.1.0-riscv64` };
      await copyRun(log, { ledger: ({ step, lane }) => (step === 9 && lane === 3 ? sharp : {}) });
      const to = join(temporaryFolder(), 'files');
      await assert.rejects(replaySmall({ transport: log, to, ...fromShards() }), {
        code: 'fingerprint-differs',
        message:
          /step 9, lane 3: sharp nothing, architecture nothing; expected sharp sharp@0\.1\.0-libvips@8\.1\.0, architecture riscv64/,
      });
      assert.equal((await readdir(to)).length, 9 * 4 + 3);
      assert.equal((await replaySmall({ transport: log, ...fromShards(shards, true) })).otherFingerprint, 1);
    } finally {
      await log.close();
    }
  });

  it('has parts with names', () => {
    const named = (ours: string, theirs: string) => differingParts(ours, theirs).map(({ part }) => part);
    const ours = 'planes@1+resize@3+record@1+sharp@0.35.5-libvips@8.17.3-x64';
    assert.deepEqual(named(ours, ours), []);
    assert.deepEqual(named(ours, ours.replace('x64', 'arm64')), ['architecture']);
    assert.deepEqual(named(ours, ours.replace('0.35.5', '0.34.0')), ['sharp']);
    assert.deepEqual(named(ours, ours.replace('record@1', 'record@1+jpeg-turbo@2.3.0')), ['jpeg-turbo']);
    assert.deepEqual(named(ours, 'jpeg-turbo@2.3.0+resize@3+record@2'), ['decoder', 'format', 'sharp', 'architecture']);
  });

  it('are the shards that the run was made of: equal ones packed anew are, ones of other content are not', async () => {
    assert.equal((await replaySmall(fromShards(await packPhotos(BUCKETS)))).digest, await digestOf());
    const [source, out] = [join(temporaryFolder(), 'photos'), join(temporaryFolder(), 'shards')];
    await cp(PHOTOS, source, { recursive: true });
    const [photo] = await readdir(join(source, 'train'), { recursive: true }).then((names) =>
      names.filter((name) => name.endsWith('.JPEG')).sort(),
    );
    await rm(join(source, 'train', photo as string));
    await pack({ source, out, buckets: parseBuckets(BUCKETS), workers: 2, ...PACK_DEFAULTS, shardSamples: 20 });
    await assert.rejects(replaySmall(fromShards(out)), { code: 'dataset-differs', exit: 2 });
  });
});

describe('the command', () => {
  const common = ['replay', '--run', RUN, '--json'];

  it('prints digest and steps, of log and of shards', async () => {
    const digest = await digestOf(({ step, lane }) => step >= 2 && step < 5 && lane >= 2);
    const range = ['--transport', `log:${folder}`, '--from-step', '2', '--to-step', '5', '--rank', '1', '--ranks', '2'];
    const to = join(temporaryFolder(), 'files');
    for (const source of [
      ['--to', to],
      ['--shards', shards, '--workers', '1'],
    ]) {
      const { code, stdout, stderr } = await runCommand('stream', [...common, ...range, '--verify', ...source]);
      assert.equal(code, 0, stderr);
      const result = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as Replay;
      assert.deepEqual([result.digest, result.steps, result.lanes, result.proved], [digest, 3, [2, 3], 6]);
    }
    assert.equal((await readdir(to)).length, 6);
  });

  it('refuses options that go with others', async () => {
    for (const [options, expected] of [
      [['--rank', '0'], '--ranks N'],
      [['--allow-other-fingerprint'], '--shards DIR'],
    ] as const) {
      const { code, stdout } = await runCommand('stream', [...common, '--transport', `log:${folder}`, ...options]);
      const { error } = JSON.parse(stdout) as { error: Fault };
      assert.deepEqual([code, error.code, error.expected], [2, 'usage', expected]);
    }
  });
});
