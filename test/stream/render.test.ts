import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { DECODER, LIBJPEG_TURBO } from '../../stream/decode.ts';
import { type LedgerRecord, VAL_STEP } from '../../stream/ledger.ts';
import {
  type ChunkTask,
  FINGERPRINT,
  fingerprintWith,
  type Rendered,
  type RenderOptions,
  renderChunk,
} from '../../stream/render.ts';
import { topicsOf } from '../../stream/topics.ts';
import { openTransport } from '../../stream/transport/index.ts';
import { sampleOf, temporaryFolder, writeDataset } from '../shards/dataset.ts';
import { smallRecipe } from './fixtures.ts';
import { produceSmall, recordsOf } from './producing.ts';

const odd = (name: string) =>
  readFile(fileURLToPath(new URL(`../../../test/fixtures/odd/files/${name}`, import.meta.url)));

const photo = fileURLToPath(new URL('../../../test/fixtures/pillow/photo-0.jpg', import.meta.url));

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
  readonly label?: number;
}

/** Renders samples as one chunk of squares of `resolution`; without MixUp and random crops unless `changes` says so. */
function render(
  samples: readonly Sample[],
  resolution: number,
  changes: Partial<ChunkTask> = {},
  options: RenderOptions = {},
): Promise<Rendered> {
  const task: ChunkTask = {
    id: { plan: '', split: 'train', epoch: 0, step: 0, lane: 0, chunk: 0, chunks: 1, resolution },
    seed: 1,
    crop: 'centre',
    scale: [0.35, 1],
    ratio: [0.75, 4 / 3],
    cropRatio: 1,
    flip: 0,
    mixup: 0,
    damaged: 'fail',
    samples: samples.map(({ file, width, height, label = 0 }, sample) => ({
      sample,
      index: sample,
      location: { shard: '8/train.tar', offset: 512 * sample, bytes: file?.length ?? 0, label, width, height },
    })),
    ...changes,
  };
  return renderChunk(task, ({ offset }) => (samples[offset / 512] as Sample).file, options);
}

const rendered = async (file: Buffer, width: number, height: number) => render([{ file, width, height }], width);

describe('a chunk', () => {
  it('of baseline JPEGs is decoded by our decoder, which alone the fingerprint names', async () => {
    const { decoders } = await rendered(await encoded(32, 32).jpeg().toBuffer(), 32, 32);
    assert.deepEqual(decoders, { [DECODER]: 1 });
    assert.ok(!fingerprintWith(Object.keys(decoders)).includes('sharp'));
  });

  it('of JPEGs that our decoder does not take is decoded by libjpeg-turbo, and its fingerprint says so', async () => {
    const { decoders } = await rendered(await encoded(32, 32).jpeg({ progressive: true }).toBuffer(), 32, 32);
    assert.deepEqual(decoders, { [LIBJPEG_TURBO]: 1 });
    assert.ok(fingerprintWith(Object.keys(decoders)).endsWith(`+${LIBJPEG_TURBO}`));
  });

  it('looks the same whoever decodes it: 40 dB or better apart', async () => {
    const jpeg = await sharp(photo).jpeg().toBuffer();
    const progressive = await sharp(photo).jpeg({ progressive: true }).toBuffer();
    const { width, height } = await sharp(jpeg).metadata();
    const changes = { crop: 'random-resized', flip: 1 } as const;
    const own = await render([{ file: jpeg, width, height }], 96, changes);
    const others = [
      await render([{ file: progressive, width, height }], 96, changes),
      await render([{ file: jpeg, width, height }], 96, changes, { decoder: 'sharp' }),
    ];
    for (const { tensors, decoders } of others) {
      const squares = own.tensors.images.reduce(
        (sum, value, i) => sum + (value - (tensors.images[i] as number)) ** 2,
        0,
      );
      const psnr = 10 * Math.log10((255 * 255 * own.tensors.images.length) / squares);
      assert.ok(psnr > 40, `${Object.keys(decoders)}: ${psnr}`);
    }
  });

  it('lies at the beginning of memory that it is given, to the same bytes', async () => {
    const jpeg = { file: await encoded(48, 40).jpeg().toBuffer(), width: 48, height: 40 };
    const alone = await render([jpeg, jpeg], 32, { mixup: 0.2 });
    const memory = new ArrayBuffer(alone.bytes.length + 1000);
    new Uint8Array(memory).fill(0xff);
    const { bytes } = await render([jpeg, jpeg], 32, { mixup: 0.2 }, { memory });
    assert.equal(bytes.buffer, memory);
    assert.deepEqual(bytes, alone.bytes);
    const short = await render([jpeg, jpeg], 32, { mixup: 0.2 }, { memory: new ArrayBuffer(100) });
    assert.deepEqual(short.bytes, alone.bytes);
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

describe('a sample that is no JPEG, or a strange one', () => {
  it('is decoded by sharp, counted and named in the fingerprint: PNG, also with transparency', async () => {
    for (const image of [encoded(32, 32), encoded(32, 32).ensureAlpha(0.5)]) {
      const { tensors, decoders } = await rendered(await image.png().toBuffer(), 32, 32);
      assert.deepEqual(Buffer.from(tensors.images), raw(32, 32).data);
      const fingerprint = fingerprintWith(Object.keys(decoders));
      assert.ok(fingerprint.startsWith(`${FINGERPRINT}+sharp@`) && fingerprint.endsWith(process.arch), fingerprint);
    }
  });

  it('may be a CMYK JPEG', async () => {
    const file = await odd('cmyk.JPEG');
    const { width, height } = await sharp(file).metadata();
    const { decoders, tensors } = await render([{ file, width, height }], 8);
    assert.match(Object.keys(decoders).join(), /^sharp@/);
    assert.ok(new Set(tensors.images).size > 4);
  });

  it('is counted alone among ordinary ones, whose pixels stay', async () => {
    const jpeg = { file: await encoded(32, 32).jpeg().toBuffer(), width: 32, height: 32 };
    const png = { file: await encoded(32, 32).png().toBuffer(), width: 32, height: 32 };
    const { decoders, tensors } = await render([jpeg, png, jpeg], 32);
    assert.deepEqual(Object.values(decoders), [2, 1]);
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

describe('a damaged sample that may be replaced', () => {
  const good = async (width: number, label: number) => ({
    ...{ file: await encoded(width, 40).jpeg().toBuffer(), width, height: 40 },
    label,
  });
  const broken = { file: Buffer.from('no image'), width: 40, height: 40, label: 9 };
  const replace = { damaged: 'replace', mixup: 0.2 } as const;

  it('gives its place to the one before it, with label and number, and is told', async () => {
    const [a, b] = [await good(40, 1), await good(48, 2)];
    const { tensors, replaced, decoders } = await render([broken, a, broken, broken, b], 32, replace);
    assert.deepEqual([...tensors.sample], [4, 1, 1, 1, 4]);
    assert.deepEqual([...tensors.labelA], [2, 1, 1, 1, 2]);
    assert.deepEqual(decoders, { [DECODER]: 2 });
    assert.equal(replaced.length, 3);
    assert.match(replaced[0] ?? '', /^shard 8\/train\.tar: sample 0 at byte 0: neither/);
    const plain = await render([b, a, a, a, b], 32, { mixup: 0.2 });
    assert.deepEqual(tensors.images, plain.tensors.images);
  });

  it('fails the chunk where none is left, or where the recipe does not say so', async () => {
    await assert.rejects(render([broken, broken], 32, replace), { code: 'sample-damaged' });
    await assert.rejects(render([await good(40, 1), broken], 32, { mixup: 0.2 }), { code: 'sample-damaged' });
  });

  it('does not hide that a shard is gone', async () => {
    const gone = { ...(await good(40, 1)), file: undefined as unknown as Buffer };
    await assert.rejects(render([await good(40, 1), gone], 32, replace));
  });
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
