import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import sharp from 'sharp';
import { type Pixels, Resizer, rowsOf, type Target } from '../../../preprocess/kernel/resizer.ts';
import type { KernelName } from '../../../shards/resize/weights.ts';

const KERNELS: readonly KernelName[] = ['lanczos3', 'bicubic', 'bilinear'];

/** The kernels as their definitions have them. */
const DEFINITIONS: Record<KernelName, { support: number; at: (x: number) => number }> = {
  lanczos3: {
    support: 3,
    at: (x) => (x === 0 ? 1 : (3 * Math.sin(Math.PI * x) * Math.sin((Math.PI * x) / 3)) / (Math.PI * x) ** 2),
  },
  bicubic: {
    support: 2,
    at: (x) => (x < 1 ? 1.5 * x ** 3 - 2.5 * x ** 2 + 1 : -0.5 * x ** 3 + 2.5 * x ** 2 - 4 * x + 2),
  },
  bilinear: { support: 1, at: (x) => 1 - x },
};

const byte = (value: number): number => Math.min(255, Math.max(0, Math.round(value)));

/** One axis in doubles: `at(k)` is the source's value at k; the result is a byte. */
function oneAxis(kernel: KernelName, source: number, target: number, i: number, at: (k: number) => number): number {
  const { support, at: value } = DEFINITIONS[kernel];
  const scale = source / target;
  const centre = (i + 0.5) * scale;
  let [sum, weights] = [0, 0];
  for (let k = 0; k < source; k++) {
    const x = Math.abs(k + 0.5 - centre) / scale;
    if (x >= support) continue;
    sum += value(x) * at(k);
    weights += value(x);
  }
  return byte(sum / weights);
}

/** The resize in plain TypeScript: rows first, bytes between the passes. */
function oracle({ data, width, height }: Pixels, target: Target, kernel: KernelName): number[] {
  const { crop } = target;
  const out: number[] = [];
  for (let y = crop.top; y < crop.top + crop.height; y++) {
    const row = Array.from({ length: width * 3 }, (_, i) =>
      oneAxis(kernel, height, target.height, y, (k) => data[k * width * 3 + i] as number),
    );
    for (let x = crop.left; x < crop.left + crop.width; x++)
      for (let c = 0; c < 3; c++) out.push(oneAxis(kernel, width, target.width, x, (k) => row[k * 3 + c] as number));
  }
  return out;
}

function resized(resizer: Resizer, source: Pixels, targets: readonly Target[], kernel: KernelName): Uint8Array[] {
  const out: Uint8Array[] = [];
  resizer.resize(rowsOf(source), targets, kernel, ({ data }) => out.push(new Uint8Array(data)));
  return out;
}

const whole = (width: number, height: number): Target => ({ width, height, crop: { left: 0, top: 0, width, height } });

const side = fc.integer({ min: 1, max: 40 });
const picture = fc
  .tuple(side, side)
  .chain(([width, height]) =>
    fc
      .uint8Array({ minLength: width * height * 3, maxLength: width * height * 3 })
      .map((data): Pixels => ({ data, width, height })),
  );
const within = (min: number, max: number) => fc.integer({ min, max });
/** Often the whole: then this axis is left as it is. */
const upTo = (size: number) => fc.oneof(within(1, size), fc.constant(size));
const task = picture.chain((source) =>
  fc.tuple(upTo(source.width), upTo(source.height)).chain(([width, height]) =>
    fc.tuple(within(0, width - 1), within(0, height - 1)).chain(([left, top]) =>
      fc.record({
        source: fc.constant(source),
        target: fc
          .tuple(within(1, width - left), within(1, height - top))
          .map(([w, h]): Target => ({ width, height, crop: { left, top, width: w, height: h } })),
        kernel: fc.constantFrom(...KERNELS),
      }),
    ),
  ),
);

test('a pixel differs from the definition in doubles by at most 1 along one axis, by at most 2 along both', () => {
  const resizer = new Resizer();
  fc.assert(
    fc.property(task, ({ source, target, kernel }) => {
      const [got] = resized(resizer, source, [target], kernel);
      const expected = oracle(source, target, kernel);
      assert.equal(got?.length, expected.length);
      // Where a byte between the passes is nearly a tie, it may be 1 off, and the second pass adds its own rounding to that.
      const most = source.width === target.width || source.height === target.height ? 1 : 2;
      let above1 = 0;
      for (const [i, value] of expected.entries()) {
        const difference = Math.abs((got?.[i] as number) - value);
        assert.ok(difference <= most, `${i}: ${difference}`);
        if (difference > 1) above1++;
      }
      assert.ok(above1 <= 2 + expected.length / 100, `${above1} of ${expected.length}`);
    }),
    { numRuns: 500 },
  );
});

test('an image in strips has the pixels of the whole, and takes no more memory than a strip', () => {
  const width = 300;
  const height = 2000;
  const data = new Uint8Array(width * height * 3).map((_, i) => (i * i) >> 7);
  const source = { data, width, height };
  const targets = [
    whole(150, 1000),
    whole(30, 200),
    { ...whole(200, 1333), crop: { left: 3, top: 600, width: 99, height: 99 } },
  ];
  const small = new Resizer(64 * 1024);
  for (const kernel of KERNELS)
    assert.deepEqual(resized(small, source, targets, kernel), resized(new Resizer(), source, targets, kernel));
  assert.ok(small.memoryBytes < 1024 * 1024, `${small.memoryBytes}`);
});

test('the area kernel gives means', () => {
  const source = { data: Uint8Array.from([0, 10, 20, 40, 30, 40, 80, 50, 60, 120, 70, 80]), width: 2, height: 2 };
  const out: number[][] = [];
  new Resizer().resize(rowsOf(source), [whole(1, 1)], 'area', ({ data }) => out.push([...data]));
  assert.deepEqual(out, [[60, 40, 50]]);
});

test("Pillow's antialiased resize is met: mean difference below a third of a level", async () => {
  const folder = fileURLToPath(new URL('../../../../test/fixtures/pillow/', import.meta.url));
  const read = async (name: string): Promise<Pixels> => {
    const { data, info } = await sharp(`${folder}${name}.png`).raw().toBuffer({ resolveWithObject: true });
    assert.equal(info.channels, 3);
    return { data, width: info.width, height: info.height };
  };
  const source = await read('source');
  for (const kernel of KERNELS)
    for (const size of ['157x101', '120x77', '63x40', '20x13', '1x1']) {
      const pillow = await read(`${kernel}-${size}`);
      const [got] = resized(new Resizer(), source, [whole(pillow.width, pillow.height)], kernel);
      const difference = pillow.data.reduce((sum, value, i) => sum + Math.abs(value - (got?.[i] as number)), 0);
      assert.ok(difference / pillow.data.length < 1 / 3, `${kernel} ${size}: ${difference / pillow.data.length}`);
    }
});
