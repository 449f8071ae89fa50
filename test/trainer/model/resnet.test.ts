import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { Fault } from '#shards';
import { parseRecipe } from '#stream';
import { buildModel, createState, disposeState, inferLogits, type Model } from '#trainer';
import { initialValues, sizeOf } from '../../../trainer/model/initial.ts';
import { fromTorch, toTorch } from '../../../trainer/model/layout.ts';
import { inverseNormal } from '../../../trainer/model/normal.ts';
import { anyBackend } from '../backends.ts';

type ModelRecipe = Model['recipe'];

const RESNET50: ModelRecipe = {
  block: 'bottleneck',
  layers: [3, 4, 6, 3],
  width: 64,
  blurpool: 4,
  zeroInitGamma: true,
};
const count = (model: Model) => model.parameters.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
const names = (model: Model, start: string) => model.stateNames.filter((name) => name.startsWith(start));

test('the default model of a recipe is ResNet-50: 25,557,032 parameters with 1000 classes, with blurs and without', () => {
  const recipe = parseRecipe(
    { name: 'r', lanes: 1, phases: [{ resolution: 32, epochs: 1, batch: 4 }], optimizer: { lr: 0.1, weightDecay: 0 } },
    'test',
  );
  assert.deepEqual(recipe.model, RESNET50);
  assert.equal(count(buildModel(RESNET50, 1000)), 25_557_032);
  assert.equal(count(buildModel({ ...RESNET50, blurpool: false }, 1000)), 25_557_032);
});

test('ResNet-50 has 7 blurs, named as antialiased-cnns names them', () => {
  assert.deepEqual(buildModel(RESNET50, 1000).blurs, [
    'maxpool.1',
    ...[2, 3, 4].flatMap((layer) => [`layer${layer}.0.conv3.0`, `layer${layer}.0.downsample.0`]),
  ]);
  assert.deepEqual(buildModel({ ...RESNET50, blurpool: false }, 1000).blurs, []);
});

test('a blur moves the indexes of the convolution and norm behind it up by one', () => {
  const blurred = buildModel(RESNET50, 10);
  assert.deepEqual(
    names(blurred, 'layer2.0').filter((name) => name.endsWith('weight')),
    ['conv1', 'bn1', 'conv2', 'bn2', 'conv3.1', 'bn3', 'downsample.1', 'downsample.2'].map(
      (n) => `layer2.0.${n}.weight`,
    ),
  );
  assert.ok(blurred.stateNames.includes('layer2.1.conv3.weight'));
  assert.ok(blurred.stateNames.includes('layer1.0.downsample.0.weight'));
  const plain = buildModel({ ...RESNET50, blurpool: false }, 10);
  assert.ok(plain.stateNames.includes('layer2.0.conv3.weight'));
  assert.ok(plain.stateNames.includes('layer2.0.downsample.1.running_var'));
  assert.equal(new Set(plain.stateNames).size, plain.stateNames.length);
});

test('ResNet-18 of basic blocks has 11,689,512 parameters and its blur before conv2', () => {
  const model = buildModel({ ...RESNET50, block: 'basic', layers: [2, 2, 2, 2] }, 1000);
  assert.equal(count(model), 11_689_512);
  assert.equal(model.lastNorm, 'layer4.1.bn2');
  assert.deepEqual(
    names(model, 'layer3.0').filter((name) => name.endsWith('weight')),
    ['conv1', 'bn1', 'conv2.1', 'bn2', 'downsample.1', 'downsample.2'].map((n) => `layer3.0.${n}.weight`),
  );
  assert.equal(names(model, 'layer1.0.downsample').length, 0);
});

test('with zeroInitGamma exactly the last gamma of each block starts at 0', () => {
  const starts = (zeroInitGamma: boolean) =>
    buildModel({ ...RESNET50, layers: [1, 2, 1, 1], zeroInitGamma }, 10)
      .parameters.filter((p) => p.kind === 'norm-weight' && initialValues(p, 1).every((value) => value === 0))
      .map(({ name }) => name);
  assert.deepEqual(
    starts(true),
    ['1.0', '2.0', '2.1', '3.0', '4.0'].map((block) => `layer${block}.bn3.weight`),
  );
  assert.deepEqual(starts(false), []);
});

test('initial weights are the same bits for a seed and a name, and others for others', () => {
  const { parameters } = buildModel({ ...RESNET50, layers: [1, 1, 1, 1], width: 4 }, 5);
  const hash = (seed: number) => {
    const sum = createHash('sha256');
    for (const parameter of parameters) sum.update(initialValues(parameter, seed));
    return sum.digest('hex');
  };
  assert.equal(hash(1), 'cb535fc8df52f0d08cfdca33021ed51cac11704753506478888a9e1aac81df3b');
  assert.notEqual(hash(2), hash(1));
  const [conv] = parameters;
  assert.ok(conv);
  assert.notDeepEqual(initialValues({ ...conv, name: 'other' }, 1), initialValues(conv, 1));
});

test('a convolution starts normal with variance 2 over its fan-out, fc uniform in ±1/√inputs', () => {
  const { parameters } = buildModel({ ...RESNET50, layers: [1, 1, 1, 1], width: 16 }, 100);
  const valuesOf = (name: string) => {
    const parameter = parameters.find((one) => one.name === name);
    assert.ok(parameter, name);
    return initialValues(parameter, 3);
  };
  const conv = valuesOf('layer4.0.conv2.weight');
  const moment = (power: number) => conv.reduce((sum, value) => sum + value ** power, 0) / conv.length;
  const deviation = Math.sqrt(2 / (128 * 9));
  // 147,456 values: a mean's standard error is σ/384, a fourth moment's √96/384 of σ⁴.
  assert.ok(Math.abs(moment(1)) < (5 * deviation) / 384);
  assert.ok(Math.abs(moment(2) / deviation ** 2 - 1) < 0.02);
  assert.ok(Math.abs(moment(4) / deviation ** 4 - 3) < 0.13);
  const fc = valuesOf('fc.weight');
  const bound = 1 / Math.sqrt(512);
  assert.ok(fc.every((value) => Math.abs(value) <= Math.fround(bound)));
  assert.ok(Math.abs(fc.reduce((sum, value) => sum + value * value, 0) / fc.length / (bound ** 2 / 3) - 1) < 0.02);
});

test('the inverse normal is right to 1e-8 in the centre and in both tails', () => {
  const known: [number, number][] = [
    [0.5, 0],
    [0.975, 1.959963984540054],
    [0.841344746068543, 1],
    [0.001, -3.090232306167813],
    [0.0227501319481792, -2],
    [1e-9, -5.997807015007686],
    [1 - 0.001, 3.090232306167813],
  ];
  for (const [p, z] of known) assert.ok(Math.abs(inverseNormal(p) - z) < 1e-8, `${p}: ${inverseNormal(p)}, not ${z}`);
});

test("a tensor that goes to PyTorch's layout and back is the same, and OIHW is where it says", () => {
  const side = fc.integer({ min: 1, max: 4 });
  fc.assert(
    fc.property(side, side, side, side, (height, width, input, output) => {
      const layout = { kind: 'conv' as const, shape: [height, width, input, output] };
      const values = Float32Array.from({ length: height * width * input * output }, (_, i) => i);
      const torch = toTorch(layout, values);
      assert.deepEqual(fromTorch(layout, torch), values);
      const [h, w, i, o] = [height - 1, 0, input - 1, Math.min(1, output - 1)];
      assert.equal(
        torch[((o * input + i) * height + h) * width + w],
        values[((h * width + w) * input + i) * output + o],
      );
    }),
  );
  assert.deepEqual(
    [...toTorch({ kind: 'fc-weight', shape: [2, 3] }, Float32Array.of(0, 1, 2, 3, 4, 5))],
    [0, 3, 1, 4, 2, 5],
  );
});

test('the forward pass runs for every block, with blurs and without, at odd sizes, and frees what it made', async () => {
  const backend = await anyBackend();
  for (const block of ['bottleneck', 'basic'] as const)
    for (const blurpool of [false, 2, 3, 4, 5] as const) {
      const before = backend.tf.memory().numTensors;
      const model = buildModel({ block, layers: [1, 2, 1, 1], width: 4, blurpool, zeroInitGamma: false }, 3);
      const state = createState(backend, model, 1);
      const images = Uint8Array.from({ length: 2 * 75 * 75 * 3 }, (_, i) => (i * 31) % 256);
      const logits = inferLogits(backend, model, state, { images, labels: new Int32Array(2), resolution: 75 });
      assert.equal(logits.length, 6);
      assert.ok(logits.every(Number.isFinite));
      disposeState(backend, state);
      assert.equal(backend.tf.memory().numTensors, before);
    }
});

test('with filter 4 images of 35 px are the smallest; smaller ones are refused by name', async () => {
  const backend = await anyBackend();
  const model = buildModel({ ...RESNET50, layers: [1, 1, 1, 1], width: 4 }, 3);
  const state = createState(backend, model, 1);
  const infer = (resolution: number) => {
    const images = new Uint8Array(resolution * resolution * 3);
    return inferLogits(backend, model, state, { images, labels: new Int32Array(1), resolution });
  };
  assert.equal(infer(35).length, 3);
  assert.throws(
    () => infer(34),
    (error) => error instanceof Fault && error.code === 'blur-too-small',
  );
  disposeState(backend, state);
});
