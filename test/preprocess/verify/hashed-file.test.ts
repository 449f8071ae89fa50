import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { HashedFile } from '../../../preprocess/verify/hashed-file.ts';
import { temporaryFolder } from '../../shards/dataset.ts';

const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

test('a file is taken in pieces of any length, larger than the buffer too, and hashed as a whole', async (t) => {
  const path = join(await temporaryFolder(t), 'file');
  const data = Buffer.from(Uint32Array.from({ length: 900_000 }, (_, i) => Math.imul(i, 2654435761)).buffer);
  await writeFile(path, data);
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.nat(2000), fc.nat(1_500_000)), { maxLength: 12 }),
      fc.nat(data.length),
      (pieces, limit) => {
        const file = new HashedFile(path, limit);
        try {
          let at = 0;
          for (const bytes of pieces) {
            const taken = file.take(bytes);
            assert.equal(taken === null, at + bytes > limit);
            if (!taken) continue;
            assert.ok(taken.equals(data.subarray(at, at + bytes)));
            at += bytes;
            assert.equal(file.at, at);
          }
          assert.equal(file.finish(), sha256(data.subarray(0, limit)));
          assert.deepEqual([file.bytesRead, file.size], [limit, data.length]);
        } finally {
          file.close();
        }
      },
    ),
    { numRuns: 40 },
  );
});

test('a file that is shorter than its limit gives what it has', async (t) => {
  const path = join(await temporaryFolder(t), 'file');
  await writeFile(path, 'abc');
  const file = new HashedFile(path, 1000);
  assert.equal(file.take(4), null);
  assert.equal(file.take(2)?.toString(), 'ab');
  assert.equal(file.finish(), sha256(Buffer.from('abc')));
  file.close();
  await writeFile(path, '');
  const empty = new HashedFile(path);
  assert.equal(empty.finish(), sha256(Buffer.alloc(0)));
  empty.close();
});
