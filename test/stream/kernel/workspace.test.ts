import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import sharp from 'sharp';
import { LAMBDA_ONE } from '../../../stream/augment/mixup.ts';
import type { CropBox } from '../../../stream/augment/random-resized-crop.ts';
import { type MixTask, Workspace } from '../../../stream/kernel/workspace.ts';
import { blend, cropAndResize, type SourceImage } from './oracle.ts';

interface Piece {
  readonly source: SourceImage;
  readonly box: CropBox;
  readonly flip: boolean;
}

const whole = ({ width, height }: SourceImage): CropBox => ({ x: 0, y: 0, width, height });

/** A chunk's images, mixed with their partners where there is a shift. */
function finished(
  workspace: Workspace,
  images: number,
  size: number,
  mix: MixTask = { shift: 0, lambda: 0 },
): Uint8Array {
  const out = new Uint8Array(images * size * size * 3).fill(0xff);
  workspace.mix(mix, out);
  return out;
}

/** The pieces as images of a chunk, one after another. */
function make(workspace: Workspace, pieces: readonly Piece[], size: number): Uint8Array {
  workspace.begin(pieces.length, size);
  for (const [image, { source, box, flip }] of pieces.entries()) {
    workspace.source(source).set(source.pixels);
    workspace.resize({ box, flip, image });
  }
  return finished(workspace, pieces.length, size);
}

function expected(pieces: readonly Piece[], size: number): Uint8Array {
  const stride = size * size * 3;
  const out = new Uint8Array(pieces.length * stride);
  for (const [i, { source, box, flip }] of pieces.entries())
    cropAndResize(source, box, size, flip, out.subarray(i * stride));
  return out;
}

function largestDifference(a: Uint8Array, b: Uint8Array): number {
  assert.equal(a.length, b.length);
  return a.reduce((largest, value, i) => Math.max(largest, Math.abs(value - (b[i] as number))), 0);
}

const side = fc.integer({ min: 1, max: 60 });
const piece = fc.tuple(side, side).chain(([width, height]) =>
  fc.record({
    source: fc
      .uint8Array({ minLength: width * height * 3, maxLength: width * height * 3 })
      .map((pixels): SourceImage => ({ pixels, width, height })),
    box: fc
      .tuple(fc.integer({ min: 1, max: width }), fc.integer({ min: 1, max: height }))
      .chain(([w, h]) =>
        fc
          .tuple(fc.integer({ min: 0, max: width - w }), fc.integer({ min: 0, max: height - h }))
          .map(([x, y]): CropBox => ({ x, y, width: w, height: h })),
      ),
    flip: fc.boolean(),
  }),
);

describe('the workspace', () => {
  it('resizes every box of every size, flipped or not, within 1 of the plain resize', () => {
    const workspace = new Workspace();
    fc.assert(
      fc.property(fc.array(piece, { minLength: 1, maxLength: 3 }), fc.integer({ min: 1, max: 33 }), (pieces, size) => {
        assert.ok(largestDifference(make(workspace, pieces, size), expected(pieces, size)) <= 1);
      }),
      { numRuns: 400 },
    );
  });

  it('mixes images with their partners to the very byte of the plain blend', () => {
    const workspace = new Workspace();
    fc.assert(
      fc.property(
        fc.array(piece, { minLength: 2, maxLength: 5 }),
        fc.integer({ min: 1, max: 17 }),
        fc.integer({ min: 0, max: LAMBDA_ONE }),
        fc.nat(),
        (pieces, size, lambda, turn) => {
          const shift = 1 + (turn % (pieces.length - 1));
          const images = make(workspace, pieces, size);
          const out = new Uint8Array(images.length);
          blend(images, out, size * size * 3, shift, lambda);
          assert.deepEqual(finished(workspace, pieces.length, size, { shift, lambda }), out);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('gives the same bytes whatever it made before', () => {
    const noise = (width: number, height: number): SourceImage => ({
      pixels: new Uint8Array(width * height * 3).map((_, i) => (i * i) >> 5),
      width,
      height,
    });
    const used = new Workspace();
    for (const [source, size] of [
      [noise(700, 500), 64],
      [noise(3, 900), 20],
      [noise(40, 30), 128],
    ] as const) {
      const pieces = [true, false].map((flip) => ({ source, box: whole(source), flip }));
      assert.deepEqual(make(used, pieces, size), make(new Workspace(), pieces, size));
    }
  });

  it('takes no more memory for the second chunk like the first', () => {
    const workspace = new Workspace();
    const source = { pixels: new Uint8Array(500 * 375 * 3), width: 500, height: 375 };
    const pieces = Array.from({ length: 6 }, () => ({ source, box: whole(source), flip: false }));
    make(workspace, pieces, 224);
    const { memoryBytes } = workspace;
    for (let i = 0; i < 20; i++) make(workspace, pieces, 224);
    assert.equal(workspace.memoryBytes, memoryBytes);
    assert.ok(memoryBytes < 4 * 1024 * 1024, `${memoryBytes}`);
  });
});

describe("Pillow's antialiased bilinear", () => {
  const folder = fileURLToPath(new URL('../../../../test/fixtures/pillow/', import.meta.url));
  const read = async (name: string): Promise<SourceImage> => {
    const { data, info } = await sharp(`${folder}${name}.png`).raw().toBuffer({ resolveWithObject: true });
    assert.equal(info.channels, 3);
    return { pixels: data, width: info.width, height: info.height };
  };
  const box = (x: number, y: number, width: number, height: number): CropBox => ({ x, y, width, height });
  // As in generate.py.
  const cases: readonly (readonly [CropBox, number])[] = [
    [box(0, 0, 157, 101), 128],
    [box(11, 7, 96, 72), 64],
    [box(30, 20, 100, 75), 90],
    [box(60, 10, 33, 41), 112],
    [box(3, 50, 150, 50), 20],
  ];
  for (const [crop, size] of cases)
    it(`is met by ${crop.width}×${crop.height} at ${crop.x},${crop.y} → ${size}: mean difference below a third of a level`, async () => {
      const source = await read('source');
      const pillow = await read(`crop-${crop.x}-${crop.y}-${crop.width}x${crop.height}-${size}`);
      const got = make(new Workspace(), [{ source, box: crop, flip: false }], size);
      assert.equal(got.length, pillow.pixels.length);
      const sum = got.reduce((total, value, i) => total + Math.abs(value - (pillow.pixels[i] as number)), 0);
      assert.ok(sum / got.length < 1 / 3, String(sum / got.length));
    });
});
