import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault } from '#shards';
import {
  type Backend,
  buildModel,
  disposeState,
  freshMomentum,
  type GroupBatch,
  groupGradients,
  loadBackend,
  type Model,
  type StepOptions,
  type TrainState,
  trainStep,
  uploadBatch,
} from '#trainer';
import type { NamedTensors } from '../../trainer/backend/kernels.ts';
import { fixresParameters } from '../../trainer/methods/fixres/fixres.ts';
import { perturb } from '../../trainer/methods/sam/sam.ts';
import { requirement } from '../requirements.ts';
import { anyBackend, native } from './backends.ts';
import { freshState, noiseBatch, PLAIN, smallModel, valuesOf, WITH_SAM } from './training.ts';

type Values = Record<string, Float32Array>;

/** Relative to the largest value: float32 against our arithmetic in float64. */
function assertClose(ours: Values, theirs: Record<string, ArrayLike<number>>, what: string, tolerance = 1e-5): void {
  assert.deepEqual(Object.keys(ours).sort(), Object.keys(theirs).sort());
  for (const [name, values] of Object.entries(ours)) {
    const expected = theirs[name] as ArrayLike<number>;
    const largest = Math.max(1e-3, ...Array.from(expected, Math.abs));
    values.forEach((value, i) => {
      assert.ok(
        Math.abs(value - (expected[i] as number)) <= tolerance * largest,
        `${what} ${name}[${i}]: ${value}, not ${expected[i]}`,
      );
    });
  }
}

interface Run {
  readonly backend: Backend;
  readonly model: Model;
  readonly state: TrainState;
}

/** Runs `body` with a fresh state, and checks that every tensor it made is freed. */
async function withState(body: (run: Run) => void | Promise<void>, model = smallModel()): Promise<void> {
  const backend = await anyBackend();
  const before = backend.tf.memory().numTensors;
  const state = freshState(backend, model);
  await body({ backend, model, state });
  disposeState(backend, state);
  assert.equal(backend.tf.memory().numTensors, before);
}

function gradientsAt({ backend, model, state }: Run, group: GroupBatch, weights: NamedTensors = state.weights) {
  const batch = uploadBatch(backend, group, model.classes, PLAIN.labelSmoothing);
  return groupGradients(backend, model, batch, { weights, statistics: state.statistics }, model.parameters, 'train');
}

/** Term by term over values of the same names, in float64. */
function combine(values: readonly Record<string, ArrayLike<number>>[], f: (...terms: number[]) => number) {
  const [first = {}] = values;
  return Object.fromEntries(
    Object.keys(first).map((name) => [
      name,
      Float64Array.from(first[name] as ArrayLike<number>, (_, i) => f(...values.map((v) => v[name]?.[i] as number))),
    ]),
  );
}

/** Runs `body` in a tensor scope; what it returns lives on the host. */
function scoped<T>({ backend }: Run, body: () => T): T {
  let result: { readonly value: T } | undefined;
  backend.tf.tidy(() => {
    result = { value: body() };
  });
  assert.ok(result);
  return result.value;
}

const SGD: StepOptions['optimizer'] = { momentum: 0, nesterov: false, weightDecay: 0, decay: 'all' };

test('a step of two groups is the mean of their gradients, their losses and their batch statistics', async () => {
  await withState((run) => {
    const { backend, model, state } = run;
    const groups = [noiseBatch(0, 0), noiseBatch(0, 1)];
    const [weights, statistics] = [valuesOf(state.weights), valuesOf(state.statistics)];
    const expected = scoped(run, () => {
      const [a, b] = groups.map((group) => gradientsAt(run, group)) as [
        ReturnType<typeof gradientsAt>,
        ReturnType<typeof gradientsAt>,
      ];
      return {
        loss: ((a.loss.dataSync()[0] as number) + (b.loss.dataSync()[0] as number)) / 2,
        weights: combine([weights, valuesOf(a.gradients), valuesOf(b.gradients)], (w, g, h) => w - (0.5 * (g + h)) / 2),
        statistics: combine(
          [statistics, valuesOf(a.batchStatistics), valuesOf(b.batchStatistics)],
          (running, s, t) => 0.9 * running + (0.1 * (s + t)) / 2,
        ),
      };
    });
    const { loss, gradNorm } = trainStep(backend, model, state, groups, {
      ...PLAIN,
      learningRate: 0.5,
      optimizer: SGD,
    });
    assert.equal(loss, expected.loss);
    assert.equal(gradNorm, undefined);
    assert.equal(state.step, 1);
    assertClose(valuesOf(state.weights), expected.weights, 'weight');
    assertClose(valuesOf(state.statistics), expected.statistics, 'statistic');
  });
});

test("SAM's scope: each group perturbs by its own gradient, or all by the gradient of the whole batch", async () => {
  for (const scope of ['group', 'global'] as const)
    await withState((run) => {
      const { backend, model, state } = run;
      const { tf } = backend;
      const groups = [noiseBatch(0, 0), noiseBatch(0, 1)];
      const sam = { rho: 0.1, adaptive: false, interval: 1, scope, bnSecondPass: false };
      const weights = valuesOf(state.weights);
      const expected = scoped(run, () => {
        const first = groups.map((group) => gradientsAt(run, group).gradients);
        const total = Object.fromEntries(
          Object.keys(weights).map((name) => [name, tf.addN(first.map((g) => g[name] as NamedTensors[string]))]),
        );
        const sharp = groups.map((group, i) => {
          const by = scope === 'global' ? total : (first[i] as NamedTensors);
          return valuesOf(gradientsAt(run, group, perturb(tf, state.weights, by, sam).perturbed).gradients);
        });
        return combine([weights, ...sharp], (w, g, h) => w - (0.5 * ((g as number) + (h as number))) / 2);
      });
      const result = trainStep(backend, model, state, groups, { ...PLAIN, learningRate: 0.5, optimizer: SGD, sam });
      assert.ok(result.gradNorm !== undefined && result.gradNorm > 0);
      assertClose(valuesOf(state.weights), expected, scope, 1e-4);
    });
});

test('three steps of momentum, Nesterov and coupled decay are PyTorch’s SGD', async () => {
  for (const nesterov of [false, true])
    for (const decay of ['weights', 'all'] as const)
      await withState((run) => {
        const { backend, model, state } = run;
        const optimizer = { momentum: 0.9, nesterov, weightDecay: 0.1, decay };
        const decayed = new Set(
          model.parameters
            .filter(({ kind }) => decay === 'all' || kind === 'conv' || kind === 'fc-weight')
            .map(({ name }) => name),
        );
        let w: Record<string, ArrayLike<number>> = valuesOf(state.weights);
        let buffers: Record<string, ArrayLike<number>> | null = null;
        for (let step = 0; step < 3; step++) {
          const g = scoped(run, () => valuesOf(gradientsAt(run, noiseBatch(step)).gradients));
          const d = Object.fromEntries(
            Object.entries(g).map(([name, values]) => [
              name,
              Float64Array.from(values, (value, i) => value + (decayed.has(name) ? 0.1 * (w[name]?.[i] as number) : 0)),
            ]),
          );
          // PyTorch: the first step's buffer is the gradient itself.
          buffers = buffers ? combine([buffers, d], (b, x) => 0.9 * b + x) : d;
          w = combine([w, d, buffers], (x, y, b) => x - 0.02 * (nesterov ? y + 0.9 * b : b));
          trainStep(backend, model, state, [noiseBatch(step)], { ...PLAIN, learningRate: 0.02, optimizer });
          assertClose(valuesOf(state.weights), w, `step ${step}, nesterov ${nesterov}, decay ${decay}:`, 1e-4);
        }
      });
});

test('FixRes trains the last norm, its statistics and fc, and nothing else', async () => {
  for (const block of ['bottleneck', 'basic'] as const) {
    const model = smallModel(block);
    const last = block === 'bottleneck' ? 'layer4.0.bn3' : 'layer4.0.bn2';
    assert.deepEqual(
      fixresParameters(model).map(({ name }) => name),
      [`${last}.weight`, `${last}.bias`, 'fc.weight', 'fc.bias'],
    );
    await withState(({ backend, state }) => {
      const before = { ...valuesOf(state.weights), ...valuesOf(state.statistics) };
      const { gradNorm } = trainStep(backend, model, state, [noiseBatch(0), noiseBatch(0, 1)], {
        ...PLAIN,
        fixres: true,
      });
      assert.equal(gradNorm, undefined);
      const after = { ...valuesOf(state.weights), ...valuesOf(state.statistics) };
      const changed = Object.keys(after).filter(
        (name) => Buffer.compare(bytes(after[name]), bytes(before[name])) !== 0,
      );
      assert.deepEqual(
        changed.sort(),
        [
          `${last}.weight`,
          `${last}.bias`,
          `${last}.running_mean`,
          `${last}.running_var`,
          'fc.weight',
          'fc.bias',
        ].sort(),
      );
    }, model);
  }
});

const bytes = (values: Float32Array | undefined): Buffer => {
  assert.ok(values);
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength);
};

test('fresh momentum is zero momentum', async () => {
  await withState(({ backend, model, state }) => {
    trainStep(backend, model, state, [noiseBatch(0)], PLAIN);
    assert.ok(Object.values(valuesOf(state.slots)).some((values) => values.some((value) => value !== 0)));
    freshMomentum(backend, state);
    assert.ok(Object.values(valuesOf(state.slots)).every((values) => values.every((value) => value === 0)));
  });
});

test('a loss that is not finite stops the step, names it, and leaves the state as it was', async () => {
  await withState(({ backend, model, state }) => {
    trainStep(backend, model, state, [noiseBatch(0)], WITH_SAM);
    const before = valuesOf(state.weights);
    const broken = { ...noiseBatch(1), lam: new Float32Array(4).fill(Number.NaN) };
    const tensors = backend.tf.memory().numTensors;
    assert.throws(
      () => trainStep(backend, model, state, [noiseBatch(1), broken], WITH_SAM),
      (error) => error instanceof Fault && error.code === 'loss-not-finite' && error.received.includes('step 1'),
    );
    assert.equal(backend.tf.memory().numTensors, tensors);
    assert.equal(state.step, 1);
    assert.deepEqual(valuesOf(state.weights), before);
  });
});

test('a batch whose pixels and labels differ in number is refused', async () => {
  await withState(({ backend, model, state }) => {
    const { images, ...rest } = noiseBatch(0);
    assert.throws(
      () => trainStep(backend, model, state, [{ ...rest, images: images.slice(1) }], PLAIN),
      (error) => error instanceof Fault && error.code === 'batch-inconsistent',
    );
  });
});

test('twelve steps with SAM hold no more tensors than one', async () => {
  await withState(({ backend, model, state }) => {
    trainStep(backend, model, state, [noiseBatch(0), noiseBatch(0, 1)], WITH_SAM);
    const after = backend.tf.memory().numTensors;
    for (let step = 1; step < 12; step++)
      trainStep(backend, model, state, [noiseBatch(step), noiseBatch(step, 1)], WITH_SAM);
    assert.equal(backend.tf.memory().numTensors, after);
  });
});

test('two trainings of the same steps give the same bits', requirement('tfjs-node'), async () => {
  const backend = await native();
  const model = buildModel(
    { block: 'bottleneck', layers: [1, 2, 1, 1], width: 16, blurpool: 4, zeroInitGamma: true },
    3,
  );
  const train = () => {
    const state = freshState(backend, model);
    const losses = [0, 1, 2, 3, 4].map(
      (step) => trainStep(backend, model, state, [noiseBatch(step, 0, 8)], WITH_SAM).loss,
    );
    const values = { ...valuesOf(state.weights), ...valuesOf(state.statistics), ...valuesOf(state.slots) };
    disposeState(backend, state);
    return { losses, values };
  };
  assert.deepEqual(train(), train());
});

test('wasm learns a small set, with SAM, and FixRes lowers the loss further', async () => {
  const backend = await loadBackend('wasm');
  const model = smallModel();
  const state = freshState(backend, model);
  const groups = [noiseBatch(0, 0, 12)];
  const losses: number[] = [];
  for (let step = 0; step < 12; step++) losses.push(trainStep(backend, model, state, groups, WITH_SAM).loss);
  const [first, last] = [losses[0] as number, losses.at(-1) as number];
  assert.ok(last < first - 0.2, `losses ${losses.map((loss) => loss.toFixed(3))}`);
  freshMomentum(backend, state);
  const fixed: number[] = [];
  for (let step = 0; step < 8; step++)
    fixed.push(trainStep(backend, model, state, groups, { ...PLAIN, learningRate: 0.005, fixres: true }).loss);
  assert.ok((fixed.at(-1) as number) < (fixed[0] as number), `losses ${fixed.map((loss) => loss.toFixed(3))}`);
  disposeState(backend, state);
});
