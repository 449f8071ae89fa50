// Python trains on the same topics: ops/python reads a live run from a real broker as we do, to the byte, and its loss falls.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { runTrainPy, writeInitialCheckpoint } from '../../ops/bench/recipe-pytorch.ts';
import { encodeLedger, type LedgerRecord } from '../../stream/ledger.ts';
import { type RunMeta, readMeta } from '../../stream/meta.ts';
import { lanesOfRank } from '../../stream/ranks.ts';
import type { Recipe } from '../../stream/recipe.ts';
import { type RecordTensors, readRecord } from '../../stream/record.ts';
import { replay } from '../../stream/replay.ts';
import { topicsOf } from '../../stream/topics.ts';
import { openTransport } from '../../stream/transport/index.ts';
import type { Transport } from '../../stream/transport/transport.ts';
import { startBroker, type TestBroker } from '../broker.ts';
import { packPhotos, temporaryFolder } from '../packed.ts';
import { requirement } from '../requirements.ts';
import { smallRecipe } from '../stream/fixtures.ts';
import { produceSmall, recordsOf } from '../stream/producing.ts';
import { type Python, READER, readerPython, torchPython } from '../torch-python.ts';

const fromRoot = (path: string) => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
const SCRIPT = fromRoot('test/integration/read_stream.py');
const CONSUME = join(READER, 'consume.py');
const say = (line: string) => process.stderr.write(`${line}\n`);

interface PythonStep {
  readonly step: number;
  /** sha256 of each record, by lane. */
  readonly records: readonly (readonly string[])[];
  /** sha256 of each joined array. */
  readonly batch: Readonly<Record<keyof RecordTensors, string>>;
  readonly shape: readonly number[];
  readonly pixels?: readonly (readonly number[])[];
  readonly targets?: readonly (readonly number[])[];
}

interface Ended {
  readonly code: number | null;
  readonly lines: readonly string[];
  readonly stderr: string;
}

const children = new Set<ReturnType<typeof spawn>>();
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});

/** Runs a script to its end; `onLine` is told of each line while it runs. */
function runPython(
  { file, env }: Python,
  args: readonly string[],
  input: object,
  onLine: (line: string) => void = () => {},
): Promise<Ended> {
  const child = spawn(file, args, { env, stdio: ['pipe', 'pipe', 'pipe'] });
  children.add(child);
  const lines: string[] = [];
  let [rest, stderr] = ['', ''];
  child.stdout.on('data', (data: Buffer) => {
    const parts = (rest + data.toString()).split('\n');
    rest = parts.pop() ?? '';
    for (const line of parts) {
      lines.push(line);
      onLine(line);
    }
  });
  child.stderr.on('data', (data: Buffer) => {
    stderr += data.toString();
  });
  child.stdin.end(JSON.stringify(input));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      children.delete(child);
      resolve({ code, lines, stderr });
    });
  });
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const bytesOf = (array: RecordTensors[keyof RecordTensors]) =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

/** What a rank's Python must print, from a replay's files. */
async function expectedSteps(folder: string, lanes: readonly number[], steps: number): Promise<PythonStep[]> {
  const names = (await readdir(folder)).sort();
  return Promise.all(
    Array.from({ length: steps }, async (_, step): Promise<PythonStep> => {
      const padded = (value: number, digits: number) => String(value).padStart(digits, '0');
      const ofLane = (lane: number) =>
        names.filter((name) => name.startsWith(`step-${padded(step, 6)}.lane-${padded(lane, 2)}.`));
      const files = await Promise.all(
        lanes.map((lane) => Promise.all(ofLane(lane).map((name) => readFile(join(folder, name))))),
      );
      const chunks = files.flat().map((file, i) => readRecord(file, `file ${i}`));
      const joined = (name: keyof RecordTensors) =>
        sha256(Buffer.concat(chunks.map(({ tensors }) => bytesOf(tensors[name]))));
      const samples = chunks.reduce((sum, { tensors }) => sum + tensors.labelA.length, 0);
      const resolution = chunks[0]?.id.resolution ?? 0;
      return {
        step,
        records: files.map((lane) => lane.map(sha256)),
        batch: {
          labelA: joined('labelA'),
          labelB: joined('labelB'),
          lam: joined('lam'),
          sample: joined('sample'),
          images: joined('images'),
        },
        shape: [samples, resolution, resolution, 3],
      };
    }),
  );
}

describe('Python', requirement('kafka'), () => {
  /** The last step's lanes have two records each. */
  const recipe = smallRecipe({
    lanes: 4,
    phases: [
      { resolution: 16, epochs: 1, batch: 8 },
      { resolution: 128, epochs: 1, batch: 84 },
    ],
  });
  const RUN = 'python';
  let broker: TestBroker;
  let transport: Transport;
  let shards: string;

  before(async () => {
    broker = await startBroker();
    transport = await openTransport(broker.transport);
    shards = await packPhotos('16:24,32:40,128:144');
  });
  after(async () => {
    await transport?.close();
    await broker?.stop();
  });

  const kafka = () => ({ 'bootstrap.servers': broker.transport.slice('kafka://'.length).split('?')[0] });

  async function metaOf(run: string): Promise<RunMeta> {
    const meta = await readMeta(transport, run);
    assert.ok(meta);
    return meta;
  }

  /** What read_stream.py wants to know. */
  function jobOf(meta: RunMeta, run: string, rank: number, ranks: number, torch: object | null = null) {
    const lanes = lanesOfRank(meta.plan, rank, ranks);
    const { planHash, plan } = meta;
    return { reader: READER, kafka: kafka(), run, rank, ranks, lanes, planHash, steps: plan.steps, fromStep: 0, torch };
  }

  async function replayTo(run: string): Promise<string> {
    const meta = await metaOf(run);
    const to = join(temporaryFolder(), 'files');
    const { signal } = new AbortController();
    const lanes = lanesOfRank(meta.plan, 0, 1);
    await replay({ transport, run, meta, lanes, shards: null, verify: true, to, signal, onStep: () => {} });
    return to;
  }

  /** Produces a run until every lane has some steps. */
  async function begin(run: string): Promise<void> {
    const stop = new AbortController();
    const lanes = new Set<number>();
    await produceSmall({
      ...{ transport, run, shards, recipe, signal: stop.signal },
      onEvent: (event) => {
        if (event.kind !== 'step' || event.record.step === 0) return;
        if (lanes.add(event.record.lane).size === recipe.lanes) stop.abort();
      },
    });
  }

  it(
    'reads a run that is being produced, to the byte, whatever else the log holds',
    requirement('python'),
    async (t) => {
      const python = await readerPython(t);
      if (python === null) return;
      await begin(RUN);
      const meta = await metaOf(RUN);
      // What a producer leaves that was killed between a chunk and its ledger record: here in every lane.
      for (const lane of lanesOfRank(meta.plan, 0, 1)) {
        const [first] = (await recordsOf(transport, topicsOf(RUN).train(16)))[lane] ?? [];
        assert.ok(first);
        await transport.append(topicsOf(RUN).train(16), lane, first);
      }
      let begun = 0;
      let both: () => void = () => {};
      const reading = new Promise<void>((resolve) => {
        both = resolve;
      });
      const ranks = [0, 1].map((rank) => {
        let told = false;
        return runPython(python, [SCRIPT], jobOf(meta, RUN, rank, 2), () => {
          if (!told && ++begun === 2) both();
          told = true;
        });
      });
      // The rest is produced when both have read of what was there, so they follow the ledger as it grows.
      await Promise.race([reading, Promise.all(ranks)]);
      await produceSmall({ transport, run: RUN, shards, recipe });
      const folder = await replayTo(RUN);
      for (const [rank, { code, lines, stderr }] of (await Promise.all(ranks)).entries()) {
        assert.equal(code, 0, stderr);
        const steps = lines.map((line) => JSON.parse(line) as PythonStep);
        assert.deepEqual(steps, await expectedSteps(folder, lanesOfRank(meta.plan, rank, 2), meta.plan.steps));
        assert.deepEqual(
          steps.at(-1)?.records.map(({ length }) => length),
          [2, 2],
        );
      }
    },
  );

  it('names bytes that are not what the ledger says', requirement('python'), async (t) => {
    const python = await readerPython(t);
    if (python === null) return;
    const run = 'python-damaged';
    await produceSmall({ transport, run, shards, recipe });
    const meta = await metaOf(run);
    const entries = (await recordsOf(transport, topicsOf(run).ledger))[1]?.map(
      (value) => JSON.parse(value.toString()) as LedgerRecord,
    );
    const entry = entries?.find(({ step }) => step === 3);
    assert.ok(entry);
    for (const [change, message] of [
      [{ digest: '0'.repeat(32) }, /lane 1, step 3: 1 of 1 chunks, digest [0-9a-f]{32}, not 0{32}/],
      [{ chunks: 2 }, /lane 1, step 3: 1 of 2 chunks/],
    ] as const) {
      await transport.append(topicsOf(run).ledger, 1, encodeLedger({ ...entry, ...change }));
      const { code, lines, stderr } = await runPython(python, [SCRIPT], jobOf(meta, run, 0, 1));
      assert.deepEqual([code, lines.length], [1, 3], stderr);
      assert.match(stderr, message);
    }
    const { stderr } = await runPython(python, [SCRIPT], { ...jobOf(meta, run, 0, 1), rank: 0, ranks: 3 });
    assert.match(stderr, /the number of ranks must divide the 4 lanes/);
  });

  it('with torch makes normalised images and soft targets, and its loss falls', requirement('python'), async (t) => {
    const reader = await readerPython(t);
    const python = reader && (await torchPython(t, reader));
    if (python === null) return;
    const run = 'python-torch';
    const learnable: Recipe = smallRecipe({ lanes: 4, phases: [{ resolution: 32, epochs: 20, batch: 28 }] });
    await produceSmall({ transport, run, shards, recipe: learnable });
    const meta = await metaOf(run);
    const classes = meta.dataset.classes.length;

    const { lines, stderr } = await runPython(python, [SCRIPT], { ...jobOf(meta, run, 0, 1, { classes }), steps: 1 });
    const [step] = lines.map((line) => JSON.parse(line) as PythonStep);
    assert.ok(step?.pixels && step.targets, stderr);
    const folder = await replayTo(run);
    const names = (await readdir(folder)).filter((name) => name.startsWith('step-000000.')).sort();
    let at = 0;
    for (const name of names) {
      const { images, labelA, labelB, lam } = readRecord(await readFile(join(folder, name)), name).tensors;
      for (let i = 0; i < labelA.length; i++, at++) {
        const targets = new Array<number>(classes).fill(0);
        targets[labelA[i] as number] = (targets[labelA[i] as number] as number) + (lam[i] as number);
        targets[labelB[i] as number] = (targets[labelB[i] as number] as number) + 1 - (lam[i] as number);
        // The pixel in row 0, column 1.
        const pixels = [...images.subarray((i * 32 * 32 + 1) * 3, (i * 32 * 32 + 2) * 3)].map(
          (value, channel) =>
            (value / 255 - ([0.485, 0.456, 0.406][channel] as number)) / ([0.229, 0.224, 0.225][channel] as number),
        );
        const close = (ours: readonly number[], theirs: readonly number[] | undefined) =>
          ours.every((value, k) => Math.abs(value - (theirs?.[k] ?? Number.NaN)) < 1e-5);
        assert.ok(close(targets, step.targets[at]), `targets of image ${at}: ${targets} and ${step.targets[at]}`);
        assert.ok(close(pixels, step.pixels[at]), `pixels of image ${at}: ${pixels} and ${step.pixels[at]}`);
      }
    }
    assert.equal(at, 28);

    const args = [CONSUME, '--run', run, '--transport', broker.transport];
    const trained = await runPython(python, args, {});
    assert.equal(trained.code, 0, trained.stderr);
    const losses = trained.lines.map((line) => (JSON.parse(line) as { loss: number }).loss);
    assert.equal(losses.length, meta.plan.steps);
    const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
    const [early, late] = [mean(losses.slice(0, 6)), mean(losses.slice(-12))];
    say(`loss in Python: ${early.toFixed(3)} at first, ${late.toFixed(3)} in the end`);
    assert.ok(late < 0.85 * early, `loss ${early} at first, ${late} in the end`);

    // Our own recipe in PyTorch: the topics are what the files of a replay are.
    const model = { ...learnable.model, layers: [1, 1, 1, 1], width: 4, blurpool: 2 } satisfies Recipe['model'];
    const initial = await writeInitialCheckpoint(temporaryFolder(), { ...learnable, model }, meta.dataset, 'auto');
    const of = async (...source: string[]) => {
      const steps = await runTrainPy(python.file, ['--checkpoint', initial, '--steps', '3', ...source], python);
      return steps.map(({ loss }) => loss);
    };
    const fromKafka = await of('--run', run, '--transport', broker.transport);
    assert.equal(fromKafka.length, 3);
    assert.deepEqual(fromKafka, await of('--records', folder));
  });
});
