// SAM inside a step: where each pass computes, that w is left alone, and whole trainings beside a reference in float64.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type Backend,
  createState,
  disposeState,
  type GroupBatch,
  type Model,
  type StepOptions,
  trainStep,
} from '#trainer';
import { named } from '../../../trainer/backend/kernels.ts';
import { groupGradients, uploadBatch } from '../../../trainer/gradients.ts';
import { samFires } from '../../../trainer/methods/sam/sam.ts';
import type { Parameter } from '../../../trainer/model/model.ts';
import { anyBackend } from '../backends.ts';
import { noiseBatch, PLAIN, RESOLUTION, smallModel, valuesOf } from '../training.ts';

type Sam = Exclude<StepOptions['sam'], false>;
type Values = Record<string, Float32Array>;

const SAM: Sam = { rho: 0.3, adaptive: false, interval: 1, scope: 'group', bnSecondPass: false };
/** Of other classes, so that their gradients point apart. */
const groupsOf = (step: number) => [noiseBatch(step, 0), noiseBatch(step + 1, 1)];
const GROUPS = groupsOf(0);

/** One step of two groups, and of each pass: the weights it computed with, the state's then, and its statistics. */
function watchedStep(backend: Backend, sam: Sam | false) {
  const model = smallModel();
  const state = createState(backend, model, 11);
  const gradients = GROUPS.map((group) =>
    backend.tf.tidy(() => {
      const batch = uploadBatch(backend, group, model.classes, PLAIN.labelSmoothing);
      return valuesOf(groupGradients(backend, model, batch, state, model.parameters, 'train').gradients);
    }),
  );
  const start = { weights: valuesOf(state.weights), statistics: valuesOf(state.statistics) };
  const passes: { at: Values; state: Values; tensors: number[]; statistics: Values }[] = [];
  const tensors = () => Object.values(state.weights).map(({ id }) => id);
  const watched: Model = {
    ...model,
    forward(pass, images) {
      const logits = model.forward(pass, images);
      const [at, ofState] = [valuesOf(pass.weights), valuesOf(state.weights)];
      passes.push({ at, state: ofState, tensors: tensors(), statistics: valuesOf(pass.batchStatistics) });
      return logits;
    },
  };
  const first = tensors();
  trainStep(backend, watched, state, GROUPS, { ...PLAIN, sam });
  const end = { statistics: valuesOf(state.statistics) };
  disposeState(backend, state);
  return { start, end, passes, gradients, first };
}

/** w + e in float64. */
function perturbed(weights: Values, gradients: Values, { rho, adaptive }: Sam): Record<string, Float64Array> {
  const term = (name: string, i: number) => {
    const [w, g] = [weights[name]?.[i] as number, gradients[name]?.[i] as number];
    return { length: adaptive ? w * g : g, e: adaptive ? w * w * g : g };
  };
  let squares = 0;
  for (const [name, values] of Object.entries(weights))
    for (let i = 0; i < values.length; i++) squares += term(name, i).length ** 2;
  const scale = rho / Math.sqrt(squares);
  return Object.fromEntries(
    Object.entries(weights).map(([name, values]) => [
      name,
      Float64Array.from(values, (value, i) => value + scale * term(name, i).e),
    ]),
  );
}

function assertClose(ours: Values, theirs: Record<string, ArrayLike<number>>, tolerance: number, what: string): void {
  assert.deepEqual(Object.keys(ours).sort(), Object.keys(theirs).sort());
  for (const [name, values] of Object.entries(ours))
    values.forEach((value, i) => {
      const expected = theirs[name]?.[i] as number;
      assert.ok(Math.abs(value - expected) <= tolerance, `${what}: ${name}[${i}]: ${value}, not ${expected}`);
    });
}

test('w keeps its tensors and values through all passes; first passes run on w, second ones on w + e', async () => {
  const backend = await anyBackend();
  for (const scope of ['group', 'global'] as const)
    for (const adaptive of [false, true]) {
      const sam = { ...SAM, scope, adaptive };
      const { start, passes, gradients, first } = watchedStep(backend, sam);
      assert.equal(passes.length, 4);
      for (const { state, tensors } of passes) {
        assert.deepEqual(tensors, first);
        assert.deepEqual(state, start.weights);
      }
      const [one, two] = gradients as [Values, Values];
      const both = Object.fromEntries(
        Object.entries(one).map(([name, values]) => [
          name,
          values.map((value, i) => value + (two[name]?.[i] as number)),
        ]),
      );
      // A group takes both its passes before the next group; the whole batch's e needs all first passes before.
      const expected =
        scope === 'group'
          ? [start.weights, perturbed(start.weights, one, sam), start.weights, perturbed(start.weights, two, sam)]
          : [start.weights, start.weights, perturbed(start.weights, both, sam), perturbed(start.weights, both, sam)];
      passes.forEach(({ at }, i) => {
        assertClose(at, expected[i] ?? {}, 1e-5, `${scope}, adaptive ${adaptive}, pass ${i}`);
      });
      const distance = Math.hypot(
        ...Object.entries(start.weights).flatMap(([name, values]) =>
          Array.from(values, (value, i) => (passes[3]?.at[name]?.[i] as number) - value),
        ),
      );
      if (!adaptive) assert.ok(Math.abs(distance / sam.rho - 1) < 1e-4, `‖e‖ = ${distance}`);
    }
});

test('running statistics take the first pass’s, and the second’s after them only with bnSecondPass', async () => {
  const backend = await anyBackend();
  for (const scope of ['group', 'global'] as const)
    for (const bnSecondPass of [false, true]) {
      const { start, end, passes } = watchedStep(backend, { ...SAM, scope, bnSecondPass });
      const [a, b, c, d] = passes.map(({ statistics }) => statistics) as [Values, Values, Values, Values];
      const [first, second] =
        scope === 'group'
          ? [
              [a, c],
              [b, d],
            ]
          : [
              [a, b],
              [c, d],
            ];
      let running: Record<string, ArrayLike<number>> = start.statistics;
      for (const groups of bnSecondPass ? [first, second] : [first])
        running = Object.fromEntries(
          Object.entries(running).map(([name, values]) => [
            name,
            Float64Array.from(values, (value, i) => {
              const [s = Number.NaN, t = Number.NaN] = (groups ?? []).map((group) => group[name]?.[i]);
              return 0.9 * value + 0.1 * ((s + t) / 2);
            }),
          ]),
        );
      assertClose(end.statistics, running, 1e-5, `${scope}, second pass ${bnSecondPass}`);
    }
});

const CLASSES = 3;

/** Softmax regression on the images' mean colours: what SAM does to it can be written down. */
function linearModel(): Model {
  const parameter = (name: string, kind: Parameter['kind'], shape: number[]): Parameter => ({
    name,
    kind,
    shape,
    torchShape: shape,
    start: { kind: 'uniform', bound: 0.5 },
  });
  return {
    recipe: smallModel().recipe,
    classes: CLASSES,
    parameters: [parameter('fc.weight', 'fc-weight', [3, CLASSES]), parameter('fc.bias', 'fc-bias', [CLASSES])],
    statistics: [],
    stateNames: ['fc.weight', 'fc.bias'],
    blurs: [],
    lastNorm: 'none',
    forward: ({ ops, weights }, images) =>
      ops.dense(ops.globalAverage(images), named(weights, 'fc.weight'), named(weights, 'fc.bias')),
  };
}

/** In float64, weights [3 · classes] row-major, then biases. */
function gradientOf(weights: readonly number[], batch: GroupBatch, smoothing: number): { g: number[]; loss: number } {
  const [mean, std] = [
    [0.485, 0.456, 0.406],
    [0.229, 0.224, 0.225],
  ];
  const pixels = Buffer.concat(batch.images);
  const g = weights.map(() => 0);
  let loss = 0;
  for (let n = 0; n < batch.samples; n++) {
    const colour = [0, 0, 0];
    const area = RESOLUTION * RESOLUTION;
    for (let at = 0; at < 3 * area; at++)
      colour[at % 3] = (colour[at % 3] as number) + (pixels[n * 3 * area + at] as number) / area;
    const x = [...colour.map((value, c) => (value / 255 - (mean[c] as number)) / (std[c] as number)), 1];
    const logits = Array.from({ length: CLASSES }, (_, k) =>
      x.reduce((sum, value, c) => sum + value * (weights[c * CLASSES + k] as number), 0),
    );
    const sum = logits.reduce((total, z) => total + Math.exp(z), 0);
    logits.forEach((z, k) => {
      const share = batch.lam[n] as number;
      const hard = (batch.labelA[n] === k ? share : 0) + (batch.labelB[n] === k ? 1 - share : 0);
      const target = (1 - smoothing) * hard + smoothing / CLASSES;
      loss -= (target * (z - Math.log(sum))) / batch.samples;
      const d = (Math.exp(z) / sum - target) / batch.samples;
      x.forEach((value, c) => {
        g[c * CLASSES + k] = (g[c * CLASSES + k] as number) + d * value;
      });
    });
  }
  return { g, loss };
}

const mean = (rows: readonly (readonly number[])[]) =>
  (rows[0] ?? []).map((_, i) => rows.reduce((sum, row) => sum + (row[i] as number), 0) / rows.length);

/** A training in float64 by the formulas of Foret 2020, Kwon 2021 and PyTorch's SGD. */
function reference(start: readonly number[], steps: number, options: StepOptions & { sam: Sam }): number[] {
  const { sam, learningRate, optimizer, labelSmoothing } = options;
  const { momentum, nesterov, weightDecay } = optimizer;
  let w = [...start];
  let buffer = w.map(() => 0);
  const shifted = (g: readonly number[]) => {
    const scale =
      sam.rho / Math.hypot(...g.map((value, i) => (sam.adaptive ? Math.abs(w[i] as number) * value : value)));
    return w.map((value, i) => value + scale * (sam.adaptive ? value ** 2 : 1) * (g[i] as number));
  };
  for (let step = 0; step < steps; step++) {
    const batches = groupsOf(step);
    const at = (weights: readonly number[], batch: GroupBatch) => gradientOf(weights, batch, labelSmoothing).g;
    let g = mean(batches.map((batch) => at(w, batch)));
    if ((step + 1) % sam.interval === 0) {
      const whole = shifted(g);
      g = mean(batches.map((batch) => at(sam.scope === 'global' ? whole : shifted(at(w, batch)), batch)));
    }
    // Decay on the weights alone: the last three are biases.
    const d = g.map((value, i) => value + (i < w.length - CLASSES ? weightDecay * (w[i] as number) : 0));
    buffer = buffer.map((value, i) => momentum * value + (d[i] as number));
    w = w.map((value, i) => {
      const direction = nesterov ? (d[i] as number) + momentum * (buffer[i] as number) : (buffer[i] as number);
      return value - learningRate * direction;
    });
  }
  return w;
}

test('five steps are those of a reference in float64, and not those of another ρ, interval, form or scope', async () => {
  const backend = await anyBackend();
  const model = linearModel();
  const flat = (values: Values) => [...(values['fc.weight'] ?? []), ...(values['fc.bias'] ?? [])];
  const gap = (ours: readonly number[], theirs: readonly number[]) =>
    Math.max(...ours.map((value, i) => Math.abs(value - (theirs[i] as number))));
  for (const scope of ['group', 'global'] as const)
    for (const adaptive of [false, true])
      for (const interval of [1, 2]) {
        const sam: Sam = { rho: 0.5, adaptive, interval, scope, bnSecondPass: false };
        const options = { ...PLAIN, learningRate: 0.3, sam };
        const state = createState(backend, model, 11);
        const start = flat(valuesOf(state.weights));
        for (let step = 0; step < 5; step++) {
          const { gradNorm } = trainStep(backend, model, state, groupsOf(step), options);
          assert.equal(gradNorm !== undefined, samFires(step, sam));
        }
        const ours = flat(valuesOf(state.weights));
        disposeState(backend, state);
        const what = JSON.stringify(sam);
        const error = gap(ours, reference(start, 5, options));
        assert.ok(error < 3e-6, `${what}: off by ${error}`);
        const others = [
          { rho: 0.45 },
          { interval: interval + 1 },
          { adaptive: !adaptive },
          { scope: scope === 'group' ? 'global' : 'group' },
        ] as const;
        for (const other of others) {
          const off = gap(ours, reference(start, 5, { ...options, sam: { ...sam, ...other } }));
          assert.ok(off > 3e-5, `${what} is told from ${JSON.stringify(other)} by ${off} only`);
        }
      }
});

test('the reference’s own gradient equals finite differences of its loss', () => {
  const weights = Array.from({ length: 4 * CLASSES }, (_, i) => Math.sin(i + 1));
  const { g } = gradientOf(weights, noiseBatch(0), 0.1);
  weights.forEach((_, i) => {
    const at = (by: number) =>
      gradientOf(
        weights.map((value, k) => (k === i ? value + by : value)),
        noiseBatch(0),
        0.1,
      ).loss;
    const numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
    assert.ok(Math.abs((g[i] as number) - numeric) < 1e-8, `[${i}]: ${g[i]}, not ${numeric}`);
  });
});
