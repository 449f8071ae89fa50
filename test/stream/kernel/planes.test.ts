// The way of an ordinary sample: our decoder's planes, resized each by itself, coloured last.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import sharp from 'sharp';
import { PlaneDecoder } from '../../../shards/jpeg/planes.ts';
import type { CropBox } from '../../../stream/augment/random-resized-crop.ts';
import { Workspace } from '../../../stream/kernel/workspace.ts';
import { resizePlanes } from './oracle.ts';

const decoder = PlaneDecoder.load();

interface Made {
  readonly jpeg: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly box: CropBox;
  readonly size: number;
  readonly flip: boolean;
}

function rendered(workspace: Workspace, { jpeg, width, height, box, size, flip }: Made): Uint8Array {
  const out = new Uint8Array(size * size * 3).fill(0xff);
  workspace.begin(1, size);
  assert.ok(workspace.decode(jpeg, { width, height }, box));
  workspace.resize({ box, flip, image: 0 });
  workspace.mix({ shift: 0, lambda: 0 }, out);
  return out;
}

function plain({ jpeg, width, height, box, size, flip }: Made): Uint8Array {
  const planes = decoder.decode(jpeg, { x: 0, y: 0, width, height });
  assert.ok(typeof planes !== 'string');
  return resizePlanes(decoder, planes, box, { size, flip });
}

function difference(a: Uint8Array, b: Uint8Array): { largest: number; mean: number } {
  assert.equal(a.length, b.length);
  let [largest, sum] = [0, 0];
  for (const [i, value] of a.entries()) {
    const apart = Math.abs(value - (b[i] as number));
    largest = Math.max(largest, apart);
    sum += apart;
  }
  return { largest, mean: sum / a.length };
}

const folder = (name: string) => fileURLToPath(new URL(`../../../../test/fixtures/${name}/`, import.meta.url));

describe('planes resized and coloured', () => {
  it('are those of the plain resize in doubles, of every size, box, sampling and flip: within 3, on average below ½', async () => {
    // Noise of all values: what rounding of weights to 1/256 can do at worst.
    const noise = async (width: number, height: number, chroma: string, grey: boolean) => {
      const data = Buffer.from(
        Array.from({ length: width * height * 3 }, (_, i) => (i * 7919 + (i >> 3) * 104_729) % 256),
      );
      const image = sharp(data, { raw: { width, height, channels: 3 } });
      if (grey) image.greyscale();
      return image.jpeg({ quality: 95, chromaSubsampling: chroma }).toBuffer();
    };
    const side = fc.integer({ min: 1, max: 90 });
    const cases = fc
      .tuple(side, side, fc.constantFrom('4:2:0', '4:4:4'), fc.boolean(), fc.integer({ min: 1, max: 65 }))
      .chain(([width, height, chroma, grey, size]) =>
        fc.tuple(fc.integer({ min: 1, max: width }), fc.integer({ min: 1, max: height })).chain(([w, h]) =>
          fc.record({
            width: fc.constant(width),
            height: fc.constant(height),
            chroma: fc.constant(chroma),
            grey: fc.constant(grey),
            size: fc.constant(size),
            flip: fc.boolean(),
            box: fc.record({
              x: fc.integer({ min: 0, max: width - w }),
              y: fc.integer({ min: 0, max: height - h }),
              width: fc.constant(w),
              height: fc.constant(h),
            }),
          }),
        ),
      );
    const workspace = new Workspace();
    const all = { differences: 0, bytes: 0 };
    await fc.assert(
      fc.asyncProperty(cases, async ({ chroma, grey, ...made }) => {
        const jpeg = await noise(made.width, made.height, chroma, grey);
        const { largest, mean } = difference(rendered(workspace, { ...made, jpeg }), plain({ ...made, jpeg }));
        const bytes = 3 * made.size ** 2;
        all.differences += mean * bytes;
        all.bytes += bytes;
        assert.ok(largest <= 3, String(largest));
      }),
      { numRuns: 300 },
    );
    assert.ok(all.differences / all.bytes < 0.5, String(all.differences / all.bytes));
  });

  it('take 4:2:2 and 4:4:0, too', async () => {
    for (const name of ['422-40x39-q100-restart3B', '440-40x39-q100-restart1']) {
      const jpeg = await readFile(`${folder('jpeg')}${name}.jpg`);
      const made = { jpeg, width: 40, height: 39, box: { x: 3, y: 5, width: 33, height: 30 }, size: 24, flip: true };
      const { largest, mean } = difference(rendered(new Workspace(), made), plain(made));
      assert.ok(largest <= 3 && mean <= 0.5, `${name}: largest ${largest}, mean ${mean}`);
    }
  });

  it('of an even picture are even, to the level', async () => {
    const jpeg = await sharp({ create: { width: 70, height: 50, channels: 3, background: '#808080' } })
      .jpeg()
      .toBuffer();
    for (const size of [3, 5, 6, 16, 31, 64]) {
      const box = { x: 5, y: 3, width: 61, height: 40 };
      assert.ok(
        rendered(new Workspace(), { jpeg, width: 70, height: 50, box, size, flip: false }).every((v) => v === 128),
      );
    }
  });
});

describe("Pillow's decode with the accurate DCT and its antialiased bilinear", () => {
  // As in generate_photos.py.
  const cases: readonly (readonly [x: number, y: number, width: number, height: number, size: number])[] = [
    [10, 4, 150, 140, 128],
    [21, 33, 97, 101, 128],
    [0, 0, 160, 160, 96],
    [7, 9, 131, 149, 112],
    [13, 1, 140, 155, 128],
  ];
  for (const [number, [x, y, width, height, size]] of cases.entries())
    it(`are met by photo ${number}: 47 dB or better`, async (t) => {
      const jpeg = await readFile(`${folder('pillow')}photo-${number}.jpg`);
      const whole = await sharp(jpeg).metadata();
      const box = { x, y, width, height };
      const got = rendered(new Workspace(), { jpeg, width: whole.width, height: whole.height, box, size, flip: false });
      const pillow = await sharp(`${folder('pillow')}photo-${number}.png`)
        .raw()
        .toBuffer();
      assert.equal(got.length, pillow.length);
      const squares = got.reduce((sum, value, i) => sum + (value - (pillow[i] as number)) ** 2, 0);
      const psnr = 10 * Math.log10((255 * 255 * got.length) / squares);
      t.diagnostic(`${psnr.toFixed(1)} dB`);
      assert.ok(psnr >= 47, `${psnr}`);
    });
});
