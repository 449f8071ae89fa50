// Evaluation of weights: from shards and from original files, with mirror images, with reports; nothing left out.

import assert from 'node:assert/strict';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, suite, test } from 'node:test';
import { Fault } from '#shards';
import { evaluationSamples, openOriginals } from '#stream';
import { Evaluation, inferLogits, readWeights, uploadValues } from '#trainer';
import { type EvaluateOptions, evaluateCheckpoint } from '../../trainer/evaluate-checkpoint.ts';
import { classScores, PredictionLines } from '../../trainer/evaluation-report.ts';
import { logMeanProbabilities, mirrored } from '../../trainer/flip-average.ts';
import { importWeights } from '../../trainer/import.ts';
import { wilson } from '../../trainer/wilson.ts';
import { PHOTOS, packPhotos, temporaryFolder } from '../packed.ts';
import { anyBackend } from './backends.ts';
import { crops, fixture } from './portable-fixtures.ts';

const fault = (code: string) => (error: unknown) => error instanceof Fault && error.code === code;

suite('evaluate', { timeout: 120_000 }, () => {
  let options: EvaluateOptions;
  before(async () => {
    // First with the tests' threads: what is evaluated takes those that are loaded.
    await anyBackend();
    const checkpoint = join(temporaryFolder(), 'imported');
    await importWeights({ weights: fixture('blurpool.safetensors'), out: checkpoint, force: false, onLine: () => {} });
    options = { checkpoint, split: 'val', resolution: 48, backend: 'auto' };
  });

  test('original files become the very pixels of torchvision on Pillow', async () => {
    const { images, n, resolution, paths } = await crops();
    const originals = await openOriginals({ source: PHOTOS, split: 'val', resolution, cropRatio: 0.875 });
    assert.equal(originals.entries.length, 18);
    const bytes = resolution * resolution * 3;
    let compared = 0;
    for await (const batch of originals.batches())
      for (const [i, path] of batch.paths.entries()) {
        const at = paths.indexOf(path);
        if (at < 0) continue;
        const [ours, theirs] = [batch.images.subarray(i * bytes, (i + 1) * bytes), images.subarray(at * bytes)];
        assert.ok(Buffer.from(ours).equals(Buffer.from(theirs.subarray(0, bytes))), path);
        compared++;
      }
    assert.equal(compared, n);
    assert.deepEqual(originals.decoders, { 'libjpeg-exact': 18, sharp: 0 });
  });

  test('both splits of shards and of originals are scored whole, and reports agree with the scores', async () => {
    const shards = await packPhotos('48:56');
    for (const where of [{ shards }, { source: PHOTOS }] as const) {
      const [report, predictions] = ['report.json', 'predictions.csv'].map((name) => join(temporaryFolder(), name)) as [
        string,
        string,
      ];
      const train = await evaluateCheckpoint({ ...options, ...where, split: 'train' });
      const result = await evaluateCheckpoint({ ...options, ...where, report, predictions });
      assert.deepEqual([train.samples, result.samples], [84, 18]);
      assert.deepEqual([result.resolution, result.cropRatio, result.flip], [48, 0.875, false]);
      const { classes, confusion, ...head } = JSON.parse(await readFile(report, 'utf8'));
      assert.deepEqual(head, { format: 'medium-recipe/evaluation@1', ...result });
      assert.equal(
        confusion.flat().reduce((sum: number, count: number) => sum + count),
        18,
      );
      assert.deepEqual(
        confusion.map((row: number[]) => row.reduce((sum, count) => sum + count)),
        classes.map(({ samples }: { samples: number }) => samples),
      );
      const hits = confusion.reduce((sum: number, row: number[], i: number) => sum + (row[i] ?? 0), 0);
      assert.equal(hits / 18, result.top1);
      const [title, ...rows] = (await readFile(predictions, 'utf8')).trimEnd().split('\n');
      assert.equal(title, 'sample,path,label,predicted,rank,loss');
      const cells = rows.map((row) => row.split(','));
      assert.equal(rows.length, 18);
      assert.equal(cells.filter(([, , label, predicted]) => label === predicted).length, hits);
      assert.ok(Math.abs(cells.reduce((sum, row) => sum + Number(row[5]), 0) / 18 - result.loss) < 1e-12);
      assert.equal(
        cells.every(([, path]) => path?.startsWith('val/')),
        'source' in where,
      );
    }
  });

  test('with mirror images the loss is that of the mean of both probabilities', async () => {
    const shards = await packPhotos('48:56');
    const backend = await anyBackend();
    const { model, values } = await readWeights(options.checkpoint);
    const tensors = uploadValues(backend, model, values);
    const softmaxOf = (logits: Float32Array) => {
      const powers = [...logits].map(Math.exp);
      return powers.map((power) => power / powers.reduce((sum, other) => sum + other));
    };
    let total = 0;
    for await (const { images, labelA } of evaluationSamples({
      shards,
      split: 'val',
      resolution: 48,
      cropRatio: 0.875,
    })) {
      const batch = { images, labels: labelA, resolution: 48 };
      const [one, other] = [batch, mirrored(batch)].map((shown) => inferLogits(backend, model, tensors, shown));
      for (const [i, label] of labelA.entries()) {
        const [p, q] = [one, other].map(
          (logits) => softmaxOf(logits?.subarray(5 * i, 5 * i + 5) ?? assert.fail())[label],
        );
        total -= Math.log(((p as number) + (q as number)) / 2);
      }
    }
    backend.tf.dispose([tensors.weights, tensors.statistics]);
    const both = await evaluateCheckpoint({ ...options, shards, flip: true });
    assert.deepEqual([both.flip, both.samples], [true, 18]);
    assert.ok(Math.abs(both.loss - total / 18) < 1e-5, `${both.loss}, ${total / 18} expected`);
    assert.notEqual(both.loss, (await evaluateCheckpoint({ ...options, shards })).loss);
  });

  test('a val alone is scored; a photo that cannot be decoded ends it; other classes are refused', async () => {
    const source = temporaryFolder();
    await cp(join(PHOTOS, 'val'), join(source, 'val'), { recursive: true });
    const alone = await evaluateCheckpoint({ ...options, source });
    assert.deepEqual(
      [alone.samples, alone.loss],
      [18, (await evaluateCheckpoint({ ...options, source: PHOTOS })).loss],
    );
    const broken = join(source, 'val/n00015388/zzz.JPEG');
    await writeFile(broken, 'not a photo');
    await assert.rejects(evaluateCheckpoint({ ...options, source }), (error) => {
      assert.ok(error instanceof Fault && error.code === 'original-damaged', String(error));
      return error.received.includes('val/n00015388/zzz.JPEG');
    });
    await rm(broken);
    await mkdir(join(source, 'val/n99999999'));
    await assert.rejects(evaluateCheckpoint({ ...options, source }), fault('other-classes'));
    await assert.rejects(evaluateCheckpoint(options), fault('usage'));
    await assert.rejects(evaluateCheckpoint({ ...options, source, shards: source }), fault('usage'));
  });
});

test('a mirrored batch has its columns in reverse, each image and row by itself', () => {
  const images = Uint8Array.from({ length: 2 * 2 * 2 * 3 }, (_, i) => i);
  const flipped = mirrored({ images, labels: Int32Array.of(0, 1), resolution: 2 });
  assert.deepEqual([...flipped.images.subarray(0, 12)], [3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8]);
  assert.deepEqual(mirrored(flipped).images, images);
});

test('the mean is of probabilities, and stays finite for logits far apart', () => {
  const mean = logMeanProbabilities(Float32Array.of(0, Math.log(3), 800, 0), Float32Array.of(0, 0, 0, 800), 2);
  const expected = [(1 / 4 + 1 / 2) / 2, (3 / 4 + 1 / 2) / 2, 1 / 2, 1 / 2].map(Math.log);
  for (const [i, value] of mean.entries()) assert.ok(Math.abs(value - (expected[i] as number)) < 1e-6, `${value}`);
});

test('scores by class, one without samples among them; a path with a comma in quotes', () => {
  const lines = new PredictionLines();
  lines.names(['a,b', 'c']);
  const evaluation = new Evaluation(3, (answer) => lines.add(answer));
  evaluation.add(Float32Array.of(2, 1, 0, 0, 1, 0), Int32Array.of(0, 0));
  const classes = ['x', 'y', 'z'].map((wnid, index) => ({ index, wnid }));
  assert.deepEqual(
    classScores(classes, evaluation).map(({ samples, top1, top5 }) => [samples, top1, top5]),
    [
      [2, 0.5, 1],
      [0, null, null],
      [0, null, null],
    ],
  );
  assert.deepEqual([...evaluation.confusion], [1, 1, 0, 0, 0, 0, 0, 0, 0]);
  assert.deepEqual(
    lines.lines.slice(1).map((line) => line.slice(0, line.lastIndexOf(','))),
    ['0,"a,b",0,0,0', '1,c,0,1,1'],
  );
});

test('Wilson’s interval, by the numbers of others', () => {
  // SciPy 1.17: binomtest(hits, samples).proportion_ci(method='wilson').
  for (const [hits, samples, low, high] of [
    [14, 18, 0.5478542, 0.9099907],
    [0, 10, 0, 0.2775328],
    [10, 10, 0.7224672, 1],
  ] as const) {
    const [from, to] = wilson(hits, samples);
    assert.ok(Math.abs(from - low) < 1e-6 && Math.abs(to - high) < 1e-6, `${from} ${to}`);
  }
});
