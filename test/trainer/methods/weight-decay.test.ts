import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildModel, createState, disposeState, trainStep } from '#trainer';
import { decays } from '../../../trainer/methods/weight-decay/weight-decay.ts';
import { anyBackend } from '../backends.ts';
import { noiseBatch, PLAIN, smallModel, valuesOf } from '../training.ts';

test('of ResNet-50, 53 convolutions and fc.weight decay; 107 gammas, betas and biases do not', () => {
  for (const blurpool of [4, false] as const) {
    const recipe = {
      block: 'bottleneck' as const,
      layers: [3, 4, 6, 3] as [number, number, number, number],
      width: 64,
    };
    const { parameters } = buildModel({ ...recipe, blurpool, zeroInitGamma: true }, 1000);
    const decayed = parameters.filter((parameter) => decays(parameter, 'weights'));
    // timm's rule and PyTorch's examples: what has one dimension does not decay.
    assert.deepEqual(
      decayed.map(({ name }) => name),
      parameters.filter(({ torchShape }) => torchShape.length > 1).map(({ name }) => name),
    );
    assert.deepEqual([decayed.length, parameters.length - decayed.length], [54, 107]);
    assert.equal(decayed.filter(({ name }) => name === 'fc.weight').length, 1);
    assert.ok(parameters.every((parameter) => decays(parameter, 'all')));
  }
});

test('a step decays its group by rate · decay · w, and no other parameter', async () => {
  const backend = await anyBackend();
  const model = smallModel('basic');
  const after = (weightDecay: number, decay: 'weights' | 'all') => {
    const state = createState(backend, model, 11);
    const optimizer = { momentum: 0.9, nesterov: false, weightDecay, decay };
    trainStep(backend, model, state, [noiseBatch(0)], { ...PLAIN, learningRate: 0.5, optimizer });
    const values = valuesOf(state.weights);
    disposeState(backend, state);
    return values;
  };
  const state = createState(backend, model, 11);
  const before = valuesOf(state.weights);
  disposeState(backend, state);
  const free = after(0, 'all');
  for (const decay of ['weights', 'all'] as const) {
    const moved = after(0.2, decay);
    for (const parameter of model.parameters) {
      const { name } = parameter;
      const share = decays(parameter, decay) ? 0.5 * 0.2 : 0;
      moved[name]?.forEach((value, i) => {
        const expected = (free[name]?.[i] as number) - share * (before[name]?.[i] as number);
        assert.ok(Math.abs(value - expected) < 1e-6, `${decay}: ${name}[${i}]: ${value}, not ${expected}`);
      });
    }
  }
});
