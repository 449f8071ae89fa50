// A trainer that is killed at every named point, resumed, killed again: its losses and the sha256 of everything that it
// leaves (weights, slots, best, which checkpoints stay) are those of one that was not.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { KILL_POINTS, type KillPoint } from '../../shards/kill-point.ts';
import { latestCheckpoint } from '../../trainer/checkpoint.ts';
import { type Ended, run } from '../commands.ts';
import { curveOf, digestsOf, type KilledRun, killedRun, STEPS } from '../killed-run.ts';
import { temporaryFolder } from '../packed.ts';
import { requirement } from '../requirements.ts';
import { pick } from './length.ts';

type Backend = 'tfjs-node' | 'wasm';
type KillAt = `${KillPoint}${'@' | ':'}${string}`;

let shared: KilledRun;

/** All trainers read this one stream. */
before(async () => {
  shared = await killedRun();
  const { code, stderr } = await run('stream', shared.produce);
  assert.equal(code, 0, stderr);
});

const folder = () => join(temporaryFolder(), 'out');

function train(backend: Backend, out: string, killAt?: KillAt): Promise<Ended> {
  return run('trainer', shared.consume(backend, out), killAt ? { MEDIUM_RECIPE_KILL_AT: killAt } : {});
}

interface Outcome {
  readonly curve: Awaited<ReturnType<typeof curveOf>>;
  readonly digests: Awaited<ReturnType<typeof digestsOf>>;
}

const outcomeOf = async (out: string): Promise<Outcome> => ({
  curve: await curveOf(out),
  digests: await digestsOf(out),
});

const undisturbed = new Map<Backend, Promise<Outcome>>();

/** Of a trainer that nobody kills; trained once a backend. */
function expectedOf(backend: Backend): Promise<Outcome> {
  const known = undisturbed.get(backend);
  if (known) return known;
  const trained = async () => {
    const out = folder();
    const { code, stderr } = await train(backend, out);
    assert.equal(code, 0, stderr);
    const outcome = await outcomeOf(out);
    assert.deepEqual(
      outcome.curve.map(({ step }) => step),
      Array.from({ length: STEPS }, (_, step) => step),
    );
    return outcome;
  };
  const outcome = trained();
  undisturbed.set(backend, outcome);
  return outcome;
}

async function checkpointStep(out: string): Promise<number> {
  const latest = await latestCheckpoint(out);
  return latest === null ? 0 : Number(/\d+$/.exec(latest)?.[0]);
}

/** One death, and what the folder holds then. */
interface Death {
  readonly at: KillAt;
  /** The newest whole checkpoint: the step at which the next trainer resumes. */
  readonly checkpoint: number;
  /** Lines of the journal. */
  readonly lines: number;
}

/** Dies as listed, goes on to the end, and is compared. */
function survives(backend: Backend, deaths: readonly Death[]) {
  return async () => {
    const expected = await expectedOf(backend);
    const out = folder();
    for (const { at, checkpoint, lines } of deaths) {
      const { signal, stderr } = await train(backend, out, at);
      assert.equal(signal, 'SIGKILL', `${at}: ${stderr}`);
      assert.deepEqual([await checkpointStep(out), (await curveOf(out)).length], [checkpoint, lines], at);
    }
    const { code, stderr } = await train(backend, out);
    assert.equal(code, 0, stderr);
    assert.deepEqual(await outcomeOf(out), expected);
  };
}

/** Dies again and again at the K-th time of one point, until a trainer comes to the end before that. */
function survivesAgainAndAgain(backend: Backend, at: KillAt, deaths: number) {
  return async () => {
    const expected = await expectedOf(backend);
    const out = folder();
    let died = 0;
    for (let end = await train(backend, out, at); end.code !== 0; end = await train(backend, out, at)) {
      assert.equal(end.signal, 'SIGKILL', end.stderr);
      assert.ok(++died <= deaths, `no progress: checkpoint ${await checkpointStep(out)} after ${died} deaths`);
    }
    assert.equal(died, deaths);
    assert.deepEqual(await outcomeOf(out), expected);
  };
}

/** Steps 1, 3, 5, … are SAM's, with two groups; checkpoints at 3, 6, 9, and at each epoch's end. */
const WITHIN_AN_EPOCH: readonly Death[] = [
  { at: 'journal-appended@4', checkpoint: 3, lines: 5 },
  // The first group's second pass at step 3, which this one resumes at.
  { at: 'sam-in-second-pass@3', checkpoint: 3, lines: 3 },
  { at: 'step-updated@8', checkpoint: 6, lines: 8 },
];
const AT_A_SWITCH: readonly Death[] = [
  { at: 'phase-switch@20', checkpoint: 20, lines: 20 },
  { at: 'phase-switch@20', checkpoint: 20, lines: 20 },
  { at: 'fixres-start@30', checkpoint: 30, lines: 30 },
];
const IN_A_CHECKPOINT: readonly Death[] = [
  { at: 'checkpoint-weights-written@3', checkpoint: 0, lines: 3 },
  { at: 'checkpoint-before-rename@6', checkpoint: 3, lines: 6 },
  { at: 'checkpoint-renamed@6', checkpoint: 6, lines: 6 },
];
const AROUND_AN_EVALUATION: readonly Death[] = [
  { at: 'evaluation@0:2', checkpoint: 9, lines: 10 },
  { at: 'evaluation-done@0', checkpoint: 9, lines: 10 },
];

/** Every point of a trainer, in the order of one run; the newest three checkpoints stay, and the best. */
const EVERY_POINT: readonly Death[] = [
  { at: 'sam-before-second-pass@1', checkpoint: 0, lines: 1 },
  { at: 'checkpoint-weights-written@3', checkpoint: 0, lines: 3 },
  { at: 'checkpoint-state-written@3', checkpoint: 0, lines: 3 },
  { at: 'checkpoint-before-rename@3', checkpoint: 0, lines: 3 },
  { at: 'checkpoint-renamed@3', checkpoint: 3, lines: 3 },
  // SAM's interval from both sides: after a step with it, and after one without.
  { at: 'journal-appended@3', checkpoint: 3, lines: 4 },
  { at: 'step-updated@4', checkpoint: 3, lines: 4 },
  { at: 'sam-in-second-pass@5', checkpoint: 3, lines: 5 },
  { at: 'sam-after-second-pass@7', checkpoint: 6, lines: 7 },
  { at: 'progress-reported@6', checkpoint: 6, lines: 6 },
  { at: 'evaluation@0:2', checkpoint: 9, lines: 10 },
  { at: 'evaluation-done@0', checkpoint: 9, lines: 10 },
  { at: 'best-marked@10', checkpoint: 10, lines: 10 },
  { at: 'checkpoint-removing@6', checkpoint: 12, lines: 12 },
  { at: 'checkpoints-pruned@15', checkpoint: 15, lines: 15 },
  { at: 'phase-switch@20', checkpoint: 20, lines: 20 },
  { at: 'fixres-start@30', checkpoint: 30, lines: 30 },
  { at: 'checkpoint-renamed@40', checkpoint: 40, lines: 40 },
];

describe('trainer killed, resumed, killed, resumed within one epoch, at a phase switch, during a checkpoint write', () => {
  const native = requirement('tfjs-node');
  it('every point of a trainer is one at which it is killed', () => {
    const stream: readonly string[] = ['chunk-appended', 'before-ledger'] satisfies KillPoint[];
    const killed = EVERY_POINT.map(({ at }) => at.replace(/[@:].*/, ''));
    assert.deepEqual(
      Object.keys(KILL_POINTS).filter((point) => !stream.includes(point) && !killed.includes(point)),
      [],
    );
  });
  it('at every point, in one run (tfjs-node)', native, survives('tfjs-node', EVERY_POINT));
  if (pick(false, true)) {
    it('within one epoch (tfjs-node)', native, survives('tfjs-node', WITHIN_AN_EPOCH));
    it('at a phase switch (tfjs-node)', native, survives('tfjs-node', AT_A_SWITCH));
    it('during a checkpoint write (tfjs-node)', native, survives('tfjs-node', IN_A_CHECKPOINT));
    it('around an evaluation (tfjs-node)', native, survives('tfjs-node', AROUND_AN_EVALUATION));
    for (const [at, deaths] of [
      ['journal-appended:4', 13],
      ['step-updated:7', 6],
      ['sam-before-second-pass:9', 4],
      ['sam-in-second-pass:8', 4],
      ['sam-after-second-pass:4', 4],
      ['checkpoint-weights-written:4', 5],
      ['checkpoint-before-rename:3', 7],
      ['checkpoint-renamed:2', 8],
      ['best-marked:2', 8],
      ['checkpoints-pruned:2', 8],
      ['evaluation-done:2', 3],
    ] as const)
      it(`at every ${at} (tfjs-node)`, native, survivesAgainAndAgain('tfjs-node', at, deaths));
  }
  it(
    'within one epoch, and during a checkpoint write (wasm)',
    survives('wasm', [
      ...pick([], [{ at: 'journal-appended@4', checkpoint: 3, lines: 5 }] as const),
      { at: 'checkpoint-weights-written@6', checkpoint: 3, lines: 6 },
    ]),
  );
});
