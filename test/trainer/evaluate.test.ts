import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault } from '#shards';
import { createState, disposeState, Evaluation, evaluate, inferLogits } from '#trainer';
import { anyBackend } from './backends.ts';
import { RESOLUTION, smallModel } from './training.ts';

test('top-1, top-5 and the mean loss over uneven batches, by hand', () => {
  const evaluation = new Evaluation(6);
  evaluation.add(Float32Array.of(6, 5, 4, 3, 2, 1, 6, 5, 4, 3, 2, 1), Int32Array.of(0, 4));
  evaluation.add(Float32Array.of(6, 5, 4, 3, 2, 1), Int32Array.of(5));
  const { samples, top1, top5, loss } = evaluation.result();
  const sum = Math.log([1, 2, 3, 4, 5, 6].reduce((total, value) => total + Math.exp(value), 0));
  assert.deepEqual([samples, top1, top5], [3, 1 / 3, 2 / 3]);
  assert.ok(Math.abs(loss - (3 * sum - 6 - 2 - 1) / 3) < 1e-12);
});

test('of equal logits the lower class comes first, as argmax has it', () => {
  const evaluation = new Evaluation(3);
  evaluation.add(Float32Array.of(1, 1, 0, 1, 1, 0), Int32Array.of(0, 1));
  assert.equal(evaluation.result().top1, 0.5);
});

test('logits too large for exp still give a finite loss', () => {
  const evaluation = new Evaluation(2);
  evaluation.add(Float32Array.of(2000, 0), Int32Array.of(1));
  assert.equal(evaluation.result().loss, 2000);
});

test('a logit that is not finite, and a label that no class has, stop the evaluation by name', () => {
  const fault = (code: string) => (error: unknown) => error instanceof Fault && error.code === code;
  assert.throws(
    () => new Evaluation(2).add(Float32Array.of(Number.NaN, 0), Int32Array.of(1)),
    fault('logits-not-finite'),
  );
  assert.throws(() => new Evaluation(2).add(Float32Array.of(1, 0), Int32Array.of(2)), fault('label-out-of-range'));
});

test('evaluation scores every sample once, however they are batched', async () => {
  const backend = await anyBackend();
  const model = smallModel();
  const before = backend.tf.memory().numTensors;
  const state = createState(backend, model, 1);
  const n = 7;
  const pixels = RESOLUTION * RESOLUTION * 3;
  const images = Uint8Array.from({ length: n * pixels }, (_, i) => (i * 7919) % 251);
  const labels = Int32Array.from({ length: n }, (_, i) => i % 3);
  const batches = (sizes: number[]) => {
    let begin = 0;
    return sizes.map((size) => {
      const from = begin;
      begin += size;
      return {
        images: images.subarray(from * pixels, begin * pixels),
        labels: labels.subarray(from, begin),
        resolution: RESOLUTION,
      };
    });
  };
  const whole = await evaluate(backend, model, state, batches([7]));
  const uneven = await evaluate(backend, model, state, batches([3, 3, 1]));
  assert.equal(whole.samples, 7);
  assert.deepEqual([uneven.samples, uneven.top1, uneven.top5], [whole.samples, whole.top1, whole.top5]);
  assert.ok(Math.abs(uneven.loss - whole.loss) < 1e-6);
  const [one] = batches([7]);
  assert.ok(one);
  const reference = new Evaluation(3);
  reference.add(inferLogits(backend, model, state, one), labels);
  assert.deepEqual(reference.result(), whole);
  disposeState(backend, state);
  assert.equal(backend.tf.memory().numTensors, before);
});
