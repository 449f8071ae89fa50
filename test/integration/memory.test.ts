// Memory is bounded in bytes: three times more data needs no more of it, in the producer and in the consumer.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Consumer } from '../../stream/consumer.ts';
import { readMeta } from '../../stream/meta.ts';
import { openTransport } from '../../stream/transport/index.ts';
import { start } from '../commands.ts';
import { packPhotos, temporaryFolder } from '../packed.ts';

const MB = 1e6;
/** Four records of about 1 MB a step, and one step an epoch. */
const BATCH = 80;
const BOUND = 8 * MB;

setFlagsFromString('--expose-gc');
/** Garbage is not what is bounded. */
const collect = runInNewContext('gc') as () => void;

/** Anonymous memory of a process, bytes: what it allocated, without the log's pages that the kernel keeps mapped. */
async function anonymous(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(/^RssAnon:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
}

describe('memory', { skip: existsSync('/proc/self/status') ? false : 'needs /proc' }, () => {
  let shards: string;
  before(async () => {
    shards = await packPhotos('128:136');
  });

  /** Produces `epochs` epochs and returns the log and the producer's peak. */
  async function produce(epochs: number): Promise<{ log: string; peak: number }> {
    const log = `log:${join(temporaryFolder(), 'log')}`;
    const phases = `phases=[{resolution: 128, epochs: ${epochs}, batch: ${BATCH}}]`;
    const target = [
      '--run',
      'memory',
      '--transport',
      log,
      '--shards',
      shards,
      '--recipe',
      'quickstart',
      '--set',
      phases,
    ];
    const { child, ended } = start('stream', ['produce', ...target, '--workers', '1', '--memory', String(BOUND)]);
    let peak = 0;
    const sampling = setInterval(() => {
      void anonymous(child.pid ?? 0).then((bytes) => {
        peak = Math.max(peak, bytes);
      });
    }, 20);
    const { code, stderr } = await ended;
    clearInterval(sampling);
    assert.equal(code, 0, stderr);
    return { log, peak };
  }

  it('of a producer and a consumer does not grow with the stream', async () => {
    // Both long enough for V8's own threshold: it collects buffers when some 64 MB of them have come since the last time.
    const [short, long] = [await produce(24), await produce(72)];
    const extra = 48 * BATCH * 128 * 128 * 3;
    const grown = long.peak - short.peak;
    assert.ok(short.peak > 0);
    assert.ok(grown < extra / 2, `the producer: ${grown / MB} MB more for ${extra / MB} MB more of stream`);

    const transport = await openTransport(long.log);
    const meta = await readMeta(transport, 'memory');
    assert.ok(meta);
    const lanes = [0, 1, 2, 3];
    const consumer = await Consumer.open({ transport, run: 'memory', meta, lanes, fromStep: 0, prefetchBytes: BOUND });
    let steps = 0;
    let held = 0;
    collect();
    const before = process.memoryUsage().arrayBuffers;
    while (await consumer.next()) {
      steps++;
      // Long enough for a prefetcher without a bound to run ahead.
      await new Promise((resolve) => setTimeout(resolve, 10));
      collect();
      held = Math.max(held, process.memoryUsage().arrayBuffers - before);
    }
    await consumer.close();
    await transport.close();
    assert.equal(steps, 72);
    // The queue's bound, the step in hand, and for each lane the step that is being checked.
    assert.ok(held < BOUND + 2 * BATCH * 128 * 128 * 3 + 5 * MB, `the consumer holds ${held / MB} MB of buffers`);
  });
});
