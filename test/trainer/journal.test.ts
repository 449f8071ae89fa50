import assert from 'node:assert/strict';
import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Fault } from '#shards';
import { Journal, type JournalEntry } from '#trainer';

const entry = (step: number): JournalEntry => ({
  step,
  epoch: 0,
  phase: 0,
  resolution: 48,
  loss: 1 / (step + 1),
  lr: 0.1,
  samples: 16,
  waitMs: 2.5,
});
const lines = (...steps: number[]) => steps.map((step) => `${JSON.stringify(entry(step))}\n`).join('');

async function inFolder(body: (out: string, path: string) => Promise<void>): Promise<void> {
  const out = await mkdtemp(join(tmpdir(), 'journal-test-'));
  try {
    await body(out, join(out, 'journal.jsonl'));
  } finally {
    await rm(out, { recursive: true, force: true });
  }
}

test('a line a step, readable while the run goes on', async () => {
  await inFolder(async (out, path) => {
    const journal = await Journal.open(out, 0);
    assert.equal(journal.lastStep, -1);
    await journal.append(entry(0));
    assert.equal(await readFile(path, 'utf8'), lines(0));
    await journal.append(entry(1));
    await journal.sync();
    await journal.close();
    assert.equal(await readFile(path, 'utf8'), lines(0, 1));
  });
});

test('on resume the lines at or after the checkpoint are cut, and new ones follow', async () => {
  await inFolder(async (out, path) => {
    await writeFile(path, lines(0, 1, 2, 3, 4));
    const kept: JournalEntry[] = [];
    const journal = await Journal.open(out, 3, (line) => kept.push(line));
    assert.deepEqual(kept, [entry(0), entry(1), entry(2)]);
    assert.equal(journal.lastStep, 2);
    assert.equal(await readFile(path, 'utf8'), lines(0, 1, 2));
    await journal.append(entry(3));
    await journal.close();
    assert.equal(await readFile(path, 'utf8'), lines(0, 1, 2, 3));
  });
});

test('a torn last line is cut, whatever the step', async () => {
  await inFolder(async (out, path) => {
    for (const torn of ['{"st', lines(2).trimEnd()]) {
      await writeFile(path, lines(0, 1) + torn);
      await (await Journal.open(out, 100)).close();
      assert.equal(await readFile(path, 'utf8'), lines(0, 1));
    }
  });
});

test('a journal longer than one read is cut at the right line', async () => {
  await inFolder(async (out, path) => {
    const steps = Array.from({ length: 2000 }, (_, step) => step);
    await writeFile(path, lines(...steps));
    await (await Journal.open(out, 1500)).close();
    assert.equal(await readFile(path, 'utf8'), lines(...steps.slice(0, 1500)));
  });
});

test('a damaged line in the middle is named and nothing is cut', async () => {
  await inFolder(async (out, path) => {
    await writeFile(path, lines(0));
    await appendFile(path, `not json\n${lines(2)}`);
    const before = await readFile(path, 'utf8');
    await assert.rejects(
      Journal.open(out, 5),
      (error) => error instanceof Fault && error.code === 'journal-damaged' && error.received.includes('line 2'),
    );
    assert.equal(await readFile(path, 'utf8'), before);
  });
});
