// Damaged files: no trap, no hang, and no write outside of what the decoder lays out. CORRUPTED_JPEGS sets their number.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { packageRoot } from '../../../ops/setup/plain.ts';
import { type Crop, PlaneDecoder } from '../../../shards/jpeg/planes.ts';
import { corrupted, generator } from './corrupted.ts';

const FILES = Number(process.env['CORRUPTED_JPEGS'] ?? 2000);
const folder = fileURLToPath(new URL('test/fixtures/jpeg', packageRoot));
const jpegs = readdirSync(folder).flatMap((name) => (name.endsWith('.jpg') ? [readFileSync(join(folder, name))] : []));

function randomCrop(jpeg: Buffer, draw: (below: number) => number): Crop {
  const at = jpeg.indexOf(Buffer.from([0xff, 0xc0]));
  const plausible = at >= 0 && at + 9 <= jpeg.length;
  const width = Math.max(1, plausible ? jpeg.readUInt16BE(at + 7) : 40);
  const height = Math.max(1, plausible ? jpeg.readUInt16BE(at + 5) : 40);
  const x = draw(2) * draw(width);
  const y = draw(2) * draw(height);
  return { x, y, width: 1 + draw(width - x), height: 1 + draw(height - y) };
}

it(`${FILES} damaged files give planes or a refusal, and leave other memory and other files alone`, (t) => {
  const reserve = 65_536;
  const decoder = PlaneDecoder.load();
  const from = decoder.heap + reserve;
  const intact = jpegs[27] as Buffer;
  const whole = (): string => {
    const planes = decoder.decode(intact, { x: 0, y: 0, width: 1, height: 1 }, from);
    assert.ok(typeof planes !== 'string');
    const hash = createHash('sha256');
    for (const plane of planes.planes) hash.update(decoder.bytes(plane));
    return hash.digest('hex');
  };
  const wanted = whole();
  new Uint8Array(decoder.memory.buffer, decoder.heap, reserve).fill(0xa5);
  const draw = generator(20_250_101);
  const results = { planes: 0, unsupported: 0, damaged: 0 };
  for (let i = 0; i < FILES; i++) {
    const jpeg = corrupted(jpegs[draw(jpegs.length)] as Buffer, draw);
    const planes = decoder.decode(jpeg, randomCrop(jpeg, draw), from);
    results[typeof planes === 'string' ? planes : 'planes']++;
    // What it holds of tables and blocks did not suffer.
    if (i % 50 === 0) assert.equal(whole(), wanted);
  }
  assert.equal(whole(), wanted);
  assert.ok(new Uint8Array(decoder.memory.buffer, decoder.heap, reserve).every((byte) => byte === 0xa5));
  assert.ok(decoder.memory.buffer.byteLength < 32 * 1024 * 1024, `${decoder.memory.buffer.byteLength} bytes`);
  t.diagnostic(JSON.stringify(results));
  for (const count of Object.values(results)) assert.ok(count > FILES / 200, JSON.stringify(results));
});
