// The planes beside libjpeg's own (test/fixtures/jpeg), whole and by crops; and what is refused.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import sharp, { type Sharp } from 'sharp';
import { packageRoot } from '../../../ops/setup/plain.ts';
import { type Crop, PlaneDecoder, type Planes } from '../../../shards/jpeg/planes.ts';
import { segmentAt } from './segments.ts';

const folder = fileURLToPath(new URL('test/fixtures/jpeg', packageRoot));
const names = readdirSync(folder).flatMap((name) => (name.endsWith('.jpg') ? [name.slice(0, -4)] : []));
const decoder = PlaneDecoder.load();

interface Golden {
  readonly width: number;
  readonly height: number;
  readonly samples: Buffer;
}

/** As planes.c writes them. */
function golden(name: string): Golden[] {
  const bytes = readFileSync(join(folder, `${name}.planes`));
  const planes: Golden[] = [];
  for (let at = 4; at < bytes.length; ) {
    const width = bytes.readInt32LE(at);
    const height = bytes.readInt32LE(at + 4);
    planes.push({ width, height, samples: bytes.subarray(at + 8, at + 8 + width * height) });
    at += 8 + width * height;
  }
  return planes;
}

function decoded(jpeg: Uint8Array, crop: Crop): Planes {
  const planes = decoder.decode(jpeg, crop);
  assert.ok(typeof planes !== 'string', `${planes}`);
  return planes;
}

/** The crop's samples and those of a guard of two pixels, of each plane, are the golden ones. */
function assertGolden(jpeg: Uint8Array, wanted: readonly Golden[], crop: Crop): void {
  const { planes, width, height } = decoded(jpeg, crop);
  assert.equal(planes.length, wanted.length);
  for (const [c, plane] of planes.entries()) {
    const whole = wanted[c] as Golden;
    const bytes = decoder.bytes(plane);
    assert.ok(plane.left * plane.pixelsAcross <= Math.max(0, crop.x - 2));
    assert.ok(plane.top * plane.pixelsDown <= Math.max(0, crop.y - 2));
    assert.ok((plane.left + plane.width) * plane.pixelsAcross >= Math.min(width, crop.x + crop.width + 2));
    assert.ok((plane.top + plane.height) * plane.pixelsDown >= Math.min(height, crop.y + crop.height + 2));
    assert.ok(plane.left + plane.width <= whole.width && plane.top + plane.height <= whole.height);
    for (let y = 0; y < plane.height; y++) {
      const from = (plane.top + y) * whole.width + plane.left;
      const row = bytes.subarray(y * plane.stride, y * plane.stride + plane.width);
      assert.deepEqual(Buffer.from(row), whole.samples.subarray(from, from + plane.width), `component ${c}, row ${y}`);
    }
  }
}

const fixture = (name: string): Buffer => readFileSync(join(folder, `${name}.jpg`));
const PIXEL: Crop = { x: 0, y: 0, width: 1, height: 1 };
const noise = Buffer.from(Array.from({ length: 64 * 48 * 3 }, (_, i) => (i * 7919 + ((i * i) >> 5)) & 255));
const image = (): Sharp => sharp(noise, { raw: { width: 64, height: 48, channels: 3 } });

describe('the planes of a baseline JPEG', () => {
  it('are those of libjpeg’s islow for each sampling, odd sizes, restart intervals and tables', () => {
    assert.equal(names.length, 50);
    for (const name of names) {
      const wanted = golden(name);
      const { width, height } = wanted[0] as Golden;
      assertGolden(fixture(name), wanted, { x: 0, y: 0, width, height });
    }
  });

  it('hold any crop with two pixels around it', () => {
    const size = fc.integer({ min: 0, max: 1000 });
    fc.assert(
      fc.property(fc.constantFrom(...names), size, size, size, size, (name, a, b, c, d) => {
        const wanted = golden(name);
        const { width, height } = wanted[0] as Golden;
        const x = a % width;
        const y = b % height;
        assertGolden(fixture(name), wanted, { x, y, width: 1 + (c % (width - x)), height: 1 + (d % (height - y)) });
      }),
      { numRuns: 300 },
    );
  });

  it('know nothing of the file before: tables are not carried on', () => {
    const jpeg = fixture('444-40x39-q100');
    const withTables = decoded(jpeg, PIXEL);
    assert.equal(withTables.width, 40);
    const { start, length } = segmentAt(jpeg, 0xc4);
    const without = Buffer.concat([jpeg.subarray(0, start), jpeg.subarray(start + length)]);
    assert.equal(decoder.decode(without, PIXEL), 'damaged');
  });

  it('leave the memory below the address that they may begin at', () => {
    const own = PlaneDecoder.load();
    const [jpeg, crop] = [fixture('420-40x39-q100-restart1B'), { x: 0, y: 0, width: 40, height: 39 }];
    own.decode(jpeg, crop, own.heap + 100_000);
    const below = () => new Uint8Array(own.memory.buffer, own.heap, 100_000);
    below().fill(77);
    assert.notEqual(typeof own.decode(jpeg, crop, own.heap + 100_000), 'string');
    assert.ok(below().every((byte) => byte === 77));
  });

  it('are read to the crop’s last MCU only', async () => {
    const jpeg = await image().jpeg({ quality: 95 }).toBuffer();
    const cut = jpeg.subarray(0, Math.floor(jpeg.length * 0.6));
    assert.notEqual(typeof decoder.decode(cut, { x: 0, y: 0, width: 10, height: 10 }), 'string');
    assert.equal(decoder.decode(cut, { x: 0, y: 0, width: 64, height: 48 }), 'damaged');
  });
});

describe('what the plane decoder does not take', () => {
  it('is progressive, CMYK, of other precision, sampling, or several scans', async () => {
    assert.equal(decoder.decode(await image().jpeg({ progressive: true }).toBuffer(), PIXEL), 'unsupported');
    assert.equal(decoder.decode(await image().toColourspace('cmyk').jpeg().toBuffer(), PIXEL), 'unsupported');
    const jpeg = fixture('420-40x39-q100-restart1B');
    const frame = segmentAt(jpeg, 0xc0).start + 4;
    const scan = segmentAt(jpeg, 0xda).start + 4;
    const changed = (at: number, ...bytes: number[]): Buffer => {
      const copy = Buffer.from(jpeg);
      copy.set(bytes, at);
      return copy;
    };
    assert.equal(decoder.decode(changed(frame, 12), PIXEL), 'unsupported', 'twelve bits');
    assert.equal(decoder.decode(changed(frame - 3, 0xc9), PIXEL), 'unsupported', 'arithmetic');
    assert.equal(decoder.decode(changed(frame + 7, 0x41), PIXEL), 'unsupported', '4:1:1');
    assert.equal(decoder.decode(changed(frame + 10, 0x21), PIXEL), 'unsupported', 'chroma wider than one block');
    assert.equal(decoder.decode(changed(frame + 1, 0, 0), PIXEL), 'unsupported', 'a height that comes later');
    const one = Buffer.concat([jpeg.subarray(0, scan - 2), Buffer.from([0, 8, 1, 1, 0, 0, 63, 0])]);
    assert.equal(decoder.decode(Buffer.concat([one, jpeg.subarray(scan + 10)]), PIXEL), 'unsupported', 'a scan of one');
  });

  it('is RGB, by the same marks as libjpeg takes it for RGB', () => {
    const jpeg = fixture('444-40x39-q100');
    const { start, length } = segmentAt(jpeg, 0xe0);
    const adobe = (transform: number): Buffer =>
      Buffer.from([0xff, 0xee, 0, 14, ...Buffer.from('Adobe'), 0, 100, 0, 0, 0, 0, transform]);
    const withMarker = (marker: Buffer): Buffer =>
      Buffer.concat([jpeg.subarray(0, start), marker, jpeg.subarray(start + length)]);
    assert.equal(decoder.decode(withMarker(adobe(0)), PIXEL), 'unsupported');
    assert.equal(typeof decoder.decode(withMarker(adobe(1)), PIXEL), 'object');
    assert.equal(typeof decoder.decode(withMarker(Buffer.alloc(0)), PIXEL), 'object');
  });

  it('is no JPEG, a header cut short, or a crop outside of the image', async () => {
    const jpeg = fixture('444-40x39-q100');
    assert.equal(decoder.decode(await image().png().toBuffer(), PIXEL), 'damaged');
    assert.equal(decoder.decode(new Uint8Array(0), PIXEL), 'damaged');
    const { start } = segmentAt(jpeg, 0xda);
    for (let length = 0; length < start + 4; length++)
      assert.equal(decoder.decode(jpeg.subarray(0, length), PIXEL), 'damaged', `${length} bytes`);
    assert.equal(decoder.decode(jpeg, { x: 30, y: 0, width: 11, height: 1 }), 'damaged');
    assert.throws(() => decoder.decode(jpeg, { x: 0.5, y: 0, width: 1, height: 1 }), RangeError);
  });

  it('is a small file that claims to be large; it gets no memory', () => {
    const jpeg = Buffer.from(fixture('grey-40x39-q100'));
    const { start } = segmentAt(jpeg, 0xc0);
    jpeg.writeUInt16BE(65_535, start + 5);
    jpeg.writeUInt16BE(65_535, start + 7);
    const before = decoder.memory.buffer.byteLength;
    assert.equal(decoder.decode(jpeg, { x: 0, y: 0, width: 65_535, height: 65_535 }), 'damaged');
    assert.equal(decoder.memory.buffer.byteLength, before);
  });
});
