import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault } from '#shards';
import { loadBackend } from '#trainer';
import { requirement } from '../../requirements.ts';
import { native, THREADS } from '../backends.ts';

const faultOf = (code: string) => (error: unknown) => error instanceof Fault && error.code === code && error.exit === 2;

test('webgpu is refused as not there yet, any other name as unknown', async () => {
  await assert.rejects(loadBackend('webgpu'), faultOf('backend-unavailable'));
  await assert.rejects(loadBackend('cuda'), faultOf('backend-unknown'));
});

test('wasm says what its numbers depend on, and has no note when it was asked for', async () => {
  const { numerics, note, tf } = await loadBackend('wasm');
  assert.deepEqual(
    { ...numerics, libraryVersion: '', isa: '' },
    { backend: 'wasm', libraryVersion: '', threads: 1, arch: 'wasm', isa: '', engine: process.versions.v8 },
  );
  assert.equal(note, null);
  assert.equal(tf.getBackend(), 'wasm');
});

test('auto is tfjs-node where it loads, else wasm with one line that says why', async () => {
  const { skip } = requirement('tfjs-node');
  const { name, note } = await loadBackend('auto', { threads: THREADS });
  if (skip === false) {
    assert.equal(name, 'tfjs-node');
    assert.equal(note, null);
  } else {
    assert.equal(name, 'wasm');
    assert.match(note ?? '', /^wasm .*instead of tfjs-node: [^\n]*$/);
  }
});

test(
  'tfjs-node keeps the number of threads with which it was loaded, and refuses another',
  requirement('tfjs-node'),
  async () => {
    const backend = await native();
    assert.equal(backend.numerics.threads, THREADS);
    await assert.rejects(
      loadBackend('tfjs-node', { threads: THREADS + 1 }),
      (error) => error instanceof Fault && error.code === 'threads-fixed',
    );
  },
);
