import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Fault } from '#shards';
import { type Backend, buildModel } from '#trainer';
import type { Kernels, NamedTensors, Shape4D } from '../../../trainer/backend/kernels.ts';
import { Ops } from '../../../trainer/backend/ops.ts';
import { Tape } from '../../../trainer/backend/tape.ts';
import { binomialFilter, blurMatrix, blurPool, checkBlurs } from '../../../trainer/methods/blurpool/blurpool.ts';
import { anyBackend } from '../backends.ts';

test('the filters are the rows of Pascal’s triangle, over their sum', () => {
  const rows: Record<number, number[]> = {
    2: [1, 1],
    3: [1, 2, 1],
    4: [1, 3, 3, 1],
    5: [1, 4, 6, 4, 1],
    6: [1, 5, 10, 10, 5, 1],
    7: [1, 6, 15, 20, 15, 6, 1],
  };
  for (const [size, row] of Object.entries(rows))
    assert.deepEqual(
      [...binomialFilter(Number(size))],
      row.map((value) => value / 2 ** (Number(size) - 1)),
    );
});

test('the matrix is reflect padding, then the filter at every second place', () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 7 }), fc.integer({ min: 4, max: 20 }), (size, length) => {
      const signal = Array.from({ length }, (_, i) => Math.sin(3 * i) + i);
      const before = signal.slice(1, 1 + Math.floor((size - 1) / 2)).reverse();
      const after = signal.slice(length - 1 - Math.ceil((size - 1) / 2), length - 1).reverse();
      const padded = [...before, ...signal, ...after];
      const filter = binomialFilter(size);
      const expected: number[] = [];
      for (let start = 0; start + size <= padded.length; start += 2)
        expected.push(filter.reduce((sum, tap, i) => sum + tap * (padded[start + i] as number), 0));
      const { values, rows, columns } = blurMatrix(length, size, 2);
      assert.deepEqual([rows, columns], [expected.length, length]);
      expected.forEach((value, row) => {
        const ours = signal.reduce((sum, x, i) => sum + x * (values[row * columns + i] as number), 0);
        assert.ok(Math.abs(ours - value) < 1e-5);
      });
    }),
  );
});

test('a reflection that would reach past the axis is refused', () => {
  assert.doesNotThrow(() => blurMatrix(3, 4, 2));
  assert.throws(
    () => blurMatrix(2, 4, 2),
    (error) => error instanceof Fault && error.code === 'blur-too-small',
  );
});

/** Images [n, h, w, c] by a rule, row-major. */
function filled([n, h, w, c]: Shape4D, rule: (i: number, row: number, column: number, channel: number) => number) {
  const values = new Float32Array(n * h * w * c);
  for (let at = 0; at < values.length; at++) {
    const [channel, place] = [at % c, Math.floor(at / c)];
    values[at] = rule(Math.floor(place / (w * h)), Math.floor(place / w) % h, place % w, channel);
  }
  return values;
}

/** The blur on the device; its values and shape. */
async function blurred(values: Float32Array, shape: Shape4D, size: number) {
  const backend = await anyBackend();
  const { tf } = backend;
  return tf.tidy(() => {
    const y = blurPool(new Ops(backend, new Tape(tf)), tf.tensor4d(values, shape), size, 2);
    return { shape: y.shape, values: y.dataSync<'float32'>() };
  });
}

test('on the device it is the 2-D filter over a reflected image at every second place, for filters 2 to 7', async () => {
  const pascal = [
    [1, 1],
    [1, 2, 1],
    [1, 3, 3, 1],
    [1, 4, 6, 4, 1],
    [1, 5, 10, 10, 5, 1],
    [1, 6, 15, 20, 15, 6, 1],
  ];
  const mirror = (at: number, length: number) => (at < 0 ? -at : at >= length ? 2 * (length - 1) - at : at);
  for (const row of pascal)
    for (const [h, w] of [
      [6, 9],
      [7, 4],
    ] as const) {
      const [size, before] = [row.length, Math.floor((row.length - 1) / 2)];
      const pixel = (n: number, y: number, x: number, c: number) => Math.sin(1 + n + 2 * y + 5 * x * x + 11 * c);
      const ours = await blurred(filled([2, h, w, 3], pixel), [2, h, w, 3], size);
      const shape: Shape4D = [2, Math.ceil(h / 2), Math.ceil(w / 2), 3];
      const expected = filled(shape, (n, i, j, c) => {
        let [sum, weight] = [0, 0];
        row.forEach((a, dy) => {
          row.forEach((b, dx) => {
            sum += a * b * pixel(n, mirror(2 * i + dy - before, h), mirror(2 * j + dx - before, w), c);
            weight += a * b;
          });
        });
        return sum / weight;
      });
      assert.deepEqual(ours.shape, shape);
      expected.forEach((value, i) => {
        assert.ok(Math.abs((ours.values[i] as number) - value) < 1e-6, `filter ${size}, ${h}×${w} [${i}]`);
      });
    }
});

test('an image shifted by two gives the output shifted by one; the finest pattern is gone, shifted or not', async () => {
  const shape: Shape4D = [1, 24, 24, 1];
  const smooth = (y: number, x: number) => Math.sin(0.9 * y) + Math.cos(0.7 * x + y);
  const checks = (y: number, x: number) => ((y + x) % 2 === 0 ? 1 : -1);
  const of = async (rule: (y: number, x: number) => number, by: number, size: number) =>
    (
      await blurred(
        filled(shape, (_, y, x) => rule(y, x + by)),
        shape,
        size,
      )
    ).values;
  for (const size of [2, 3, 4, 5, 6, 7]) {
    const [still, moved] = [await of(smooth, 0, size), await of(smooth, 2, size)];
    // Four outputs from the border no reflection is seen.
    for (let i = 4; i < 8; i++)
      for (let j = 4; j < 7; j++)
        assert.ok(Math.abs((moved[i * 12 + j] as number) - (still[i * 12 + j + 1] as number)) < 1e-6, `filter ${size}`);
    // A stride alone would take every check of one colour, and of the other after a shift by one.
    for (const by of [0, 1]) {
      const flat = await of(checks, by, size);
      for (let i = 2; i < 10; i++)
        for (let j = 2; j < 10; j++) assert.ok(Math.abs(flat[i * 12 + j] as number) < 1e-6, `filter ${size} by ${by}`);
    }
  }
});

test('a model in which it replaces nothing is refused by name', () => {
  checkBlurs(false, []);
  checkBlurs(4, ['maxpool.1']);
  assert.throws(
    () => checkBlurs(4, []),
    (error) => error instanceof Fault && error.code === 'blurpool-without-effect',
  );
});

/** Runs ResNet-50 with 1000 classes once, in inference mode, and notes what the forward pass computes with. */
async function resnet50(blurpool: number | false) {
  const { tf, kernels, ...rest } = await anyBackend();
  const model = buildModel(
    { block: 'bottleneck', layers: [3, 4, 6, 3], width: 64, blurpool, zeroInitGamma: true },
    1000,
  );
  const names = new Map<number, string>();
  const used = new Map<string, number>();
  const blurs = new Set<number>();
  const readers: string[] = [];
  const before = tf.memory().numTensors;
  tf.tidy(() => {
    const noting = (values: NamedTensors): NamedTensors =>
      new Proxy(values, {
        get(target, name: string) {
          const tensor = target[name];
          if (tensor) used.set(name, tensor.size);
          return tensor;
        },
      });
    const weights: NamedTensors = {};
    for (const { name, shape } of model.parameters) {
      weights[name] = tf.fill([...shape], 0.01);
      names.set(weights[name].id, name);
    }
    const statistics: NamedTensors = {};
    for (const { name, channels } of model.statistics) statistics[name] = tf.ones([channels]);
    const watched: Kernels = {
      ...kernels,
      separable(...given) {
        const y = kernels.separable(...given);
        blurs.add(y.id);
        return y;
      },
      conv2d(x, filter, geometry) {
        if (blurs.has(x.id)) readers.push(names.get(filter.id) ?? 'a filter that is no weight');
        return kernels.conv2d(x, filter, geometry);
      },
    };
    const backend: Backend = { tf, kernels: watched, ...rest };
    const ops = new Ops(backend, new Tape(tf));
    const pass = { ops, weights: noting(weights), statistics, mode: 'inference' as const, batchStatistics: {} };
    assert.deepEqual(model.forward(pass, tf.fill([1, 48, 48, 3], 0.5)).shape, [1, 1000]);
  });
  assert.equal(tf.memory().numTensors, before);
  return { model, used, blurs: blurs.size, readers };
}

test('what ResNet-50 with 1000 classes computes: 25,557,032 trained values, 7 blurs or none', async () => {
  const { model, used, blurs, readers } = await resnet50(4);
  assert.equal(
    [...used.values()].reduce((sum, size) => sum + size, 0),
    25_557_032,
  );
  assert.deepEqual(
    [...used.keys()].sort(),
    model.parameters.map(({ name }) => name).sort(),
    'every parameter is used, and each is trained',
  );
  assert.equal(blurs, 7);
  // The stem's is read by the first block's convolution and by its shortcut; then one before conv3 and one in the shortcut.
  const stem = ['layer1.0.conv1.weight', 'layer1.0.downsample.0.weight'];
  const strided = [2, 3, 4].flatMap((stage) => [
    `layer${stage}.0.conv3.1.weight`,
    `layer${stage}.0.downsample.1.weight`,
  ]);
  assert.deepEqual(readers, [...stem, ...strided]);

  const plain = await resnet50(false);
  assert.deepEqual([plain.blurs, plain.readers], [0, []]);
  assert.equal(
    [...plain.used.values()].reduce((sum, size) => sum + size, 0),
    25_557_032,
  );
});
