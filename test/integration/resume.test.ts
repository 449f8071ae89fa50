// SIGKILL producer and trainer in the middle, start the same commands again: the loss curve is the same to the bit.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { run, start, until } from '../commands.ts';
import { curveOf, digestsOf, journalOf, killedRun, STEPS } from '../killed-run.ts';
import { temporaryFolder } from '../packed.ts';
import { requirement } from '../requirements.ts';

/** Six steps at 32 px: the producer is never far ahead, so that a kill meets it in the middle of its work. */
const WINDOW = 6 * 8 * 32 * 32 * 3;

async function commandsOf(backend: string) {
  const { produce, consume } = await killedRun();
  const out = join(temporaryFolder(), 'out');
  return { out, produce: [...produce, '--window', String(WINDOW)], consume: consume(backend, out) };
}

function provesResume(backend: 'tfjs-node' | 'wasm') {
  return async () => {
    const whole = await commandsOf(backend);
    const [produced, consumed] = await Promise.all([run('stream', whole.produce), run('trainer', whole.consume)]);
    assert.equal(produced.code, 0, produced.stderr);
    assert.equal(consumed.code, 0, consumed.stderr);
    const expected = await curveOf(whole.out);
    assert.deepEqual(
      expected.map(({ step }) => step),
      Array.from({ length: STEPS }, (_, step) => step),
    );

    const { out, produce, consume } = await commandsOf(backend);
    let producer = start('stream', produce);
    let trainer = start('trainer', consume);
    const reached = (step: number) => async () => (await journalOf(out)).length > step;
    await until(trainer, reached(7));
    producer.child.kill('SIGKILL');
    assert.equal((await producer.ended).signal, 'SIGKILL');
    producer = start('stream', produce);
    await until(trainer, reached(22));
    trainer.child.kill('SIGKILL');
    assert.equal((await trainer.ended).signal, 'SIGKILL');
    trainer = start('trainer', consume);
    const ends = await Promise.all([producer.ended, trainer.ended]);
    for (const { code, stderr } of ends) assert.equal(code, 0, stderr);

    assert.deepEqual(await curveOf(out), expected);
    assert.deepEqual(await digestsOf(out), await digestsOf(whole.out));
  };
}

describe('killed and started again', () => {
  it(
    'the loss curve and the weights are the same to the bit (tfjs-node)',
    requirement('tfjs-node'),
    provesResume('tfjs-node'),
  );
  it('the loss curve and the weights are the same to the bit (wasm)', provesResume('wasm'));
});
