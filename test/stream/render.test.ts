import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { type LedgerRecord, VAL_STEP } from '../../stream/ledger.ts';
import { type ChunkTask, FINGERPRINT, type Rendered, renderChunk } from '../../stream/render.ts';
import { topicsOf } from '../../stream/topics.ts';
import { openTransport } from '../../stream/transport/index.ts';
import { sampleOf, temporaryFolder, writeDataset } from '../shards/dataset.ts';
import { smallRecipe } from './fixtures.ts';
import { produceSmall, recordsOf } from './producing.ts';

const odd = (name: string) =>
  readFile(fileURLToPath(new URL(`../../../test/fixtures/odd/files/${name}`, import.meta.url)));

/** Distinct pixels of every value. */
const raw = (width: number, height: number) => ({
  data: Buffer.from(Array.from({ length: width * height * 3 }, (_, i) => (i * 37 + (i >> 4)) % 256)),
  raw: { width, height, channels: 3 as const },
});
const encoded = (width: number, height: number) => {
  const { data, ...options } = raw(width, height);
  return sharp(data, options);
};

interface Sample {
  readonly file: Buffer;
  readonly width: number;
  readonly height: number;
}

/** Renders samples as one chunk of squares of `resolution`; without MixUp and random crops unless `changes` says so. */
function render(samples: readonly Sample[], resolution: number, changes: Partial<ChunkTask> = {}): Promise<Rendered> {
  const task: ChunkTask = {
    id: { plan: '', split: 'train', epoch: 0, step: 0, lane: 0, chunk: 0, chunks: 1, resolution },
    seed: 1,
    crop: 'centre',
    scale: [0.35, 1],
    ratio: [0.75, 4 / 3],
    cropRatio: 1,
    flip: 0,
    mixup: 0,
    samples: samples.map(({ file, width, height }, sample) => ({
      sample,
      index: sample,
      location: { shard: '8/train.tar', offset: 512 * sample, bytes: file.length, label: 0, width, height },
    })),
    ...changes,
  };
  return renderChunk(task, ({ offset }) => (samples[offset / 512] as Sample).file);
}

const rendered = async (file: Buffer, width: number, height: number) => render([{ file, width, height }], width);

describe('a chunk', () => {
  it('of ordinary JPEGs is decoded by libjpeg-turbo, and its fingerprint says so', async () => {
    const { viaSharp, fingerprint } = await rendered(await encoded(32, 32).jpeg().toBuffer(), 32, 32);
    assert.deepEqual([viaSharp, fingerprint], [0, FINGERPRINT]);
  });

  it('is the same when others are rendered at the same time', async () => {
    const jpeg = { file: await encoded(48, 40).jpeg().toBuffer(), width: 48, height: 40 };
    const png = { file: await encoded(40, 48).png().toBuffer(), width: 40, height: 48 };
    const how = { crop: 'random-resized', flip: 0.5, mixup: 0.2 } as const;
    const chunks = [
      [png, jpeg, jpeg],
      [jpeg, jpeg, png],
      [jpeg, png],
    ];
    const alone: Rendered[] = [];
    for (const samples of chunks) alone.push(await render(samples, 32, how));
    const together = await Promise.all(chunks.map((samples) => render(samples, 32, how)));
    for (const [i, { bytes }] of together.entries()) assert.deepEqual(bytes, alone[i]?.bytes);
  });
});

describe('a sample that libjpeg-turbo refuses', () => {
  it('is decoded by sharp, counted and named in the fingerprint: PNG, also with transparency', async () => {
    for (const image of [encoded(32, 32), encoded(32, 32).ensureAlpha(0.5)]) {
      const { tensors, viaSharp, fingerprint } = await rendered(await image.png().toBuffer(), 32, 32);
      assert.deepEqual(Buffer.from(tensors.images), raw(32, 32).data);
      assert.equal(viaSharp, 1);
      assert.ok(fingerprint.startsWith(`${FINGERPRINT}+sharp@`) && fingerprint.endsWith(process.arch), fingerprint);
    }
  });

  it('may be a CMYK JPEG', async () => {
    const file = await odd('cmyk.JPEG');
    const { width, height } = await sharp(file).metadata();
    const { viaSharp, tensors } = await render([{ file, width, height }], 8);
    assert.equal(viaSharp, 1);
    assert.ok(new Set(tensors.images).size > 4);
  });

  it('is counted alone among ordinary ones, whose pixels stay', async () => {
    const jpeg = { file: await encoded(32, 32).jpeg().toBuffer(), width: 32, height: 32 };
    const png = { file: await encoded(32, 32).png().toBuffer(), width: 32, height: 32 };
    const { viaSharp, tensors } = await render([jpeg, png, jpeg], 32);
    assert.equal(viaSharp, 1);
    const own = (await rendered(jpeg.file, 32, 32)).tensors.images;
    assert.deepEqual(tensors.images.subarray(0, own.length), own);
    assert.deepEqual(tensors.images.subarray(2 * own.length), own);
  });

  const refused = (name: string, make: () => Promise<Sample>, received: RegExp) =>
    it(`is damaged when it is ${name}`, async () => {
      await assert.rejects(
        make().then((sample) => render([sample], 16)),
        (error: { code: string; received: string }) => {
          assert.equal(error.code, 'sample-damaged');
          assert.match(error.received, /^shard 8\/train\.tar: sample 0 at byte 0: /);
          assert.match(error.received, received);
          return true;
        },
      );
    });
  refused('no image', async () => ({ file: Buffer.from('no image'), width: 8, height: 8 }), /neither/);
  refused(
    'a JPEG cut short',
    async () => {
      const file = await encoded(64, 64).jpeg().toBuffer();
      return { file: file.subarray(0, file.length * 0.7), width: 64, height: 64 };
    },
    /neither/,
  );
  refused(
    'a JPEG of another size',
    async () => ({ file: await encoded(64, 64).jpeg().toBuffer(), width: 64, height: 48 }),
    /64×64/,
  );
  refused(
    'a PNG of another size',
    async () => ({ file: await encoded(64, 64).png().toBuffer(), width: 80, height: 64 }),
    /64×64/,
  );
  refused(
    'a drawing',
    async () => ({
      file: Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>'),
      width: 8,
      height: 8,
    }),
    /format svg/,
  );
});

it('a sample of too many pixels is refused before memory is asked for', async () => {
  await assert.rejects(render([{ file: Buffer.alloc(0), width: 60_000, height: 60_000 }], 16), {
    code: 'sample-too-large',
  });
});

it("a step with a PNG among its samples has sharp in its ledger's fingerprint, the others have not", async (t) => {
  const dir = await temporaryFolder(t);
  const samples = await Promise.all(
    Array.from({ length: 8 }, async (_, position) => {
      const { width, height } = sampleOf(position, Buffer.alloc(0));
      const image = encoded(width, height);
      return sampleOf(position, await (position === 5 ? image.png() : image.jpeg()).toBuffer());
    }),
  );
  await writeDataset(dir, [samples]);
  const transport = await openTransport(`log:${join(dir, 'log')}`);
  try {
    const recipe = smallRecipe({ lanes: 1, phases: [{ resolution: 8, epochs: 1, batch: 2 }] });
    const counters = await produceSmall({ transport, run: 'odd', shards: dir, recipe });
    assert.equal(counters.viaSharp, 2, 'once in the epoch, once in val');
    const ledger = (await recordsOf(transport, topicsOf('odd').ledger)).flat();
    const records = ledger.map((value) => JSON.parse(value.toString()) as LedgerRecord);
    const odd = records.filter(({ fingerprint }) => fingerprint !== FINGERPRINT);
    assert.equal(odd.length, 2);
    assert.ok(odd.some(({ step }) => step === VAL_STEP));
    for (const { fingerprint } of odd) assert.ok(fingerprint.startsWith(`${FINGERPRINT}+sharp@`));
    assert.equal(records.length, 5);
  } finally {
    await transport.close();
  }
});
