import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { Catalogue, CatalogueWriter } from '../../preprocess/catalogue.ts';
import { temporaryFolder } from '../shards/dataset.ts';

test('what was listed can be read in any order, whatever the names', async (t) => {
  const dir = await temporaryFolder(t);
  const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 300 });
  const entry = fc.record(
    {
      path: name,
      file: name,
      label: fc.nat(0xffff_ffff),
      // A tar of 138 GB and more.
      offset: fc.maxSafeNat(),
      bytes: fc.integer({ min: -1 }),
    },
    { noNullPrototype: true },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(entry, { maxLength: 20 }), async (entries) => {
      const writer = new CatalogueWriter(dir, 'train');
      for (const each of entries) writer.add(each);
      const { count, sha256 } = writer.finish();
      writer.close();
      assert.equal(count, entries.length);
      const lines = entries.map(({ path, label }) => `${path}\t${label}\n`).join('');
      assert.equal(sha256, createHash('sha256').update(lines).digest('hex'));
      const catalogue = new Catalogue(dir, 'train');
      try {
        for (const [i, each] of [...entries.entries()].reverse()) assert.deepEqual(catalogue.at(i), each);
        assert.throws(() => catalogue.at(entries.length), RangeError);
      } finally {
        catalogue.close();
      }
    }),
    { numRuns: 50 },
  );
});

test('a list of a million sources fits a heap of 32 MB, and reading it at random too', async () => {
  const script = `
    import { mkdtempSync, rmSync } from 'node:fs';
    import { tmpdir } from 'node:os';
    import { join } from 'node:path';
    const { Catalogue, CatalogueWriter } = await import(process.argv[1]);
    const { Draws, permutation } = await import('#shards');
    const dir = mkdtempSync(join(tmpdir(), 'catalogue-'));
    try {
      const before = process.resourceUsage().maxRSS;
      const writer = new CatalogueWriter(dir, 'train');
      for (let i = 0; i < 1e6; i++) {
        const path = 'train/n' + String(i % 1000).padStart(8, '0') + '/photo_' + i + '.JPEG';
        writer.add({ path, label: i % 1000, file: path, offset: 0, bytes: -1 });
      }
      const { count } = writer.finish();
      writer.close();
      const order = permutation(count, { seed: 0, purpose: 'pack.train' });
      const catalogue = new Catalogue(dir, 'train');
      for (const place of order.subarray(0, 20_000))
        if (!catalogue.at(place).path.endsWith('/photo_' + place + '.JPEG')) throw new Error('wrong source at ' + place);
      catalogue.close();
      process.stdout.write(JSON.stringify({ count, grown: process.resourceUsage().maxRSS - before }));
    } finally {
      rmSync(dir, { recursive: true });
    }`;
  const module = new URL('../../preprocess/catalogue.js', import.meta.url).href;
  const args = ['--max-old-space-size=32', '--input-type=module', '--eval', script, module];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  const { count, grown } = JSON.parse(stdout);
  assert.equal(count, 1_000_000);
  // Kilobytes. The paths alone would be 60 MB twice.
  assert.ok(grown < 64 * 1024, `${grown} kB`);
});
