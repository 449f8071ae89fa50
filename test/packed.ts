// The photos, packed once a test process into a temporary folder that goes with the process.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PACK_DEFAULTS, pack } from '#preprocess';
import { parseBuckets } from '#shards';

export const PHOTOS = fileURLToPath(new URL('../../test/fixtures/photos', import.meta.url));

const folders: string[] = [];
process.on('exit', () => {
  for (const dir of folders) rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
});

/** A temporary folder that is removed when the process ends. */
export function temporaryFolder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'medium-recipe-test-'));
  folders.push(dir);
  return dir;
}

/** Packs the photos with small shards, so that windows and shard edges are met. */
export async function packPhotos(buckets: string): Promise<string> {
  const out = join(temporaryFolder(), 'shards');
  await pack({
    source: PHOTOS,
    out,
    buckets: parseBuckets(buckets),
    workers: 2,
    ...PACK_DEFAULTS,
    shardSamples: 20,
  });
  return out;
}
