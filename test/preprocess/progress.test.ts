import assert from 'node:assert/strict';
import { test } from 'node:test';
import { progressPrinter } from '../../preprocess/progress.ts';

/** Told of 20 sources, one a second. */
function told(isTTY: boolean): string[] {
  const lines: string[] = [];
  let at = 0;
  const sink = { isTTY, write: (text: string) => lines.push(text) };
  const print = progressPrinter(sink, () => at);
  for (let done = 1; done <= 20; done++) {
    at = done * 1000;
    print({ done, sources: 20, sourceBytes: done * 500_000, rejects: 2 });
  }
  return lines;
}

test('without a terminal there is a plain line every ten seconds and one at the end', () => {
  assert.deepEqual(told(false), [
    '10/20 images, 1.0 images/s, 0.5 MB/s, ETA 10 s, 2 rejects\n',
    '20/20 images, 1.0 images/s, 0.5 MB/s, ETA 0 s, 2 rejects\n',
  ]);
});

test('on a terminal one line is rewritten and ended at the end', () => {
  const lines = told(true);
  assert.equal(lines.length, 20);
  assert.ok(lines.every((line) => line.startsWith('\r')));
  assert.equal(lines.filter((line) => line.includes('\n')).length, 1);
});
