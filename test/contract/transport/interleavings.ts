// Any interleaving of operations, against lists in memory.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import type { LogRecord } from '../../../stream/transport/index.ts';
import { type Harness, numbers } from './harness.ts';

export function interleavings(harness: Harness): void {
  test('any interleaving of appends, reads, seeks and deletions does what a list would do', async () => {
    const transports = [await harness.open(), await harness.open()] as const;
    const which = fc.nat(1);
    const operation = fc.oneof(
      { weight: 5, arbitrary: fc.record({ do: fc.constant('append'), which, partition: which, size: fc.nat(3000) }) },
      { weight: 5, arbitrary: fc.record({ do: fc.constant('next'), which, partition: which, size: fc.nat(5) }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('seek'), which, partition: which, size: fc.nat(99) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('delete'), which, partition: which, size: fc.nat(99) }) },
    );
    const property = fc.asyncProperty(fc.array(operation, { minLength: 10, maxLength: 50 }), async (operations) => {
      const name = await harness.topic(transports[0], { partitions: 2 });
      const log: { readonly value: Buffer; readonly key: string | null }[][] = [[], []];
      const begin = [0, 0];
      const positions = numbers(2).map(() => [0, 0]);
      const readers = await Promise.all(transports.map((transport) => harness.reader(transport, name, [0, 0], 5000)));
      for (const { do: action, which: w, partition: p, size } of operations) {
        const [records, at, from, transport] = [log[p] ?? [], positions[w] ?? [], readers[w], transports[w]];
        assert.ok(from !== undefined && transport !== undefined);
        if (action === 'append') {
          // Some above what the embedded log keeps in LMDB.
          const record = {
            value: randomBytes(size % 4 === 0 ? 10 * size : size),
            key: size % 3 === 0 ? `key-${size}` : null,
          };
          const offset = await transport.append(name, p, record.value, ...(record.key === null ? [] : [record.key]));
          assert.equal(offset, records.length);
          records.push(record);
        } else if (action === 'delete') {
          begin[p] = Math.max(begin[p] ?? 0, Math.floor((records.length * size) / 99));
          await transport.deleteBefore(name, p, begin[p] ?? 0);
          assert.deepEqual((await transport.ends(name))[p], { begin: begin[p], end: records.length });
        } else if (action === 'seek') {
          at[p] = Math.floor((records.length * size) / 99);
          from.seek(p, at[p] ?? 0);
        } else {
          for (let i = 0; i < size && Math.max(at[p] ?? 0, begin[p] ?? 0) < records.length; i++) {
            const record: LogRecord | null = await from.next(p);
            // What was queued before a deletion may still come: then without a gap.
            assert.ok(record !== null);
            const queued: boolean = record.offset < (begin[p] ?? 0);
            const expected: number | undefined = queued ? at[p] : Math.max(at[p] ?? 0, begin[p] ?? 0);
            assert.equal(record.offset, expected);
            assert.equal(record.key, records[record.offset]?.key);
            assert.ok(record.value.equals(records[record.offset]?.value ?? Buffer.from('nothing there')));
            at[p] = record.offset + 1;
          }
        }
      }
      await Promise.all(readers.map((each) => each.close()));
      await transports[0].deleteTopics([name]);
    });
    await fc.assert(property, { numRuns: harness.runs });
  });
}
