// A file that claims much and holds little costs little. A file of its own: node:test gives it a process of its own.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { parseBuckets } from '#shards';
import { storeImage } from '../../preprocess/image.ts';
import { BUCKETS } from '../fixtures/odd/expectation.ts';
import { ODD_FILES, ODD_FOLDER } from '../fixtures/odd/table.ts';

const LIMIT = 100e6;

it('storing all odd files, bombs included, takes less than 100 MB beyond what a process of decoders has', async () => {
  const pixels = { kernel: 'lanczos3', quality: 90, chroma: '4:2:0', orientation: 'ignore' } as const;
  const request = { split: 'train', buckets: parseBuckets(BUCKETS), pixels, timeoutMs: 20_000 } as const;
  const store = async (file: string): Promise<void> => {
    await storeImage(await readFile(join(ODD_FOLDER, 'files', file)), request);
  };
  // What the libraries allocate once: colour profiles among it.
  for (const file of ['sampling-444.JPEG', 'progressive.JPEG', 'cmyk.JPEG', 'png.JPEG', 'avif.JPEG', 'webp.JPEG'])
    await store(file);
  const before = process.memoryUsage.rss();
  for (const { file } of ODD_FILES) {
    await store(file);
    const grown = process.resourceUsage().maxRSS * 1024 - before;
    assert.ok(grown < LIMIT, `${file}: ${grown} bytes`);
  }
});
