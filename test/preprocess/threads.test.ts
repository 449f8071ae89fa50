import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsMoreThreads } from '../../preprocess/threads.ts';

test("more workers than libuv's four threads need another process, unless somebody chose their number", () => {
  assert.equal(needsMoreThreads(4, {}), false);
  assert.equal(needsMoreThreads(5, {}), true);
  assert.equal(needsMoreThreads(5, { UV_THREADPOOL_SIZE: '4' }), false);
});
