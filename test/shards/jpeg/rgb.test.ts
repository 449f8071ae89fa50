// RGB beside libjpeg-turbo's accurate decode with fancy upsampling, which is sharp's; and that whatever libjpeg refuses or
// warns of is refused. CORRUPTED_JPEGS sets the number of damaged files.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { packageRoot } from '../../../ops/setup/plain.ts';
import { readJpegHeader } from '../../../preprocess/jpeg-header.ts';
import { RgbDecoder } from '../../../shards/jpeg/rgb.ts';
import { decodeJpegInto, jpegTurbo } from '../../../shards/jpeg-turbo.ts';
import { corrupted, generator } from './corrupted.ts';
import { segmentAt } from './segments.ts';

const FILES = Number(process.env['CORRUPTED_JPEGS'] ?? 4000);
const fixtures = new URL('test/fixtures/', packageRoot);
const decoder = RgbDecoder.load();

interface Named {
  readonly name: string;
  readonly jpeg: Buffer;
}

function jpegsOf(folder: string): Named[] {
  const path = fileURLToPath(new URL(folder, fixtures));
  const names = readdirSync(path, { recursive: true, encoding: 'utf8' }).filter((name) => /\.jpe?g$/i.test(name));
  return names.sort().map((name) => ({ name, jpeg: readFileSync(join(path, name)) }));
}

const small = jpegsOf('jpeg');
const photos = jpegsOf('photos');

async function assertExact({ name, jpeg }: Named): Promise<void> {
  const { data, info } = await sharp(jpeg).toColourspace('srgb').raw().toBuffer({ resolveWithObject: true });
  assert.equal(info.channels, 3);
  const rows = decoder.decode(jpeg, info);
  assert.ok(typeof rows !== 'string', `${name}: ${rows}`);
  const got = Buffer.alloc(data.length);
  rows.copy(0, rows.height, got);
  if (got.equals(data)) return;
  const at = got.findIndex((value, i) => value !== data[i]);
  assert.fail(`${name}: sample ${at} of ${info.width} × ${info.height} is ${got[at]}, not ${data[at]}`);
}

/** Noise: chroma leaps between any values, as no photo's does. */
function noise(width: number, height: number, sampling: 'GRAY' | '444' | '422' | '420' | '440'): Named {
  const turbo = jpegTurbo() as unknown as Record<`SAMP_${typeof sampling}`, number> & ReturnType<typeof jpegTurbo>;
  const draw = generator(width * 1000 + height);
  const rgb = Buffer.from(Array.from({ length: width * height * 3 }, () => draw(256)));
  const out = Buffer.alloc(8192 + width * height * 6);
  const subsampling = turbo[`SAMP_${sampling}`];
  const options = { format: turbo.FORMAT_RGB, width, height, quality: 60 + (width % 40), subsampling };
  return { name: `${sampling} ${width}x${height}`, jpeg: Buffer.from(turbo.compressSync(rgb, out, options)) };
}

const whole = (jpeg: Buffer): string => {
  const { width, height } = readJpegHeader(jpeg) ?? { width: 1, height: 1 };
  const rows = decoder.decode(jpeg, { width, height });
  return typeof rows === 'string' ? rows : 'rows';
};

describe('the RGB of a baseline JPEG', () => {
  it('is that of libjpeg’s accurate decode: photos, tables and restart intervals of all kinds', async () => {
    assert.deepEqual([small.length, photos.length], [50, 102]);
    for (const each of [...small, ...photos]) await assertExact(each);
  });

  for (const sampling of ['GRAY', '444', '422', '420', '440'] as const)
    it(`is so in ${sampling} for all sides from 1 to 40 pixels`, async () => {
      for (let width = 1; width <= 40; width++)
        for (const factor of [1, 7, 13]) await assertExact(noise(width, 1 + ((width * factor) % 40), sampling));
    });

  it('may be copied from any row to any other, beyond what is made at once', async () => {
    const { jpeg } = noise(1200, 61, '420');
    const data = await sharp(jpeg).raw().toBuffer();
    const rows = decoder.decode(jpeg, { width: 1200, height: 61 });
    assert.ok(typeof rows !== 'string');
    for (const [first, end] of [
      [0, 61],
      [0, 1],
      [60, 61],
      [7, 40],
    ] as const) {
      const got = Buffer.alloc((end - first) * 3600);
      rows.copy(first, end, got);
      assert.ok(got.equals(data.subarray(first * 3600, end * 3600)), `${first} to ${end}`);
    }
  });
});

describe('what libjpeg refuses or warns of is refused', () => {
  const { jpeg } = small.find(({ name }) => name === '420-40x39-q100-restart1B.jpg') as Named;
  const changed = (at: number, ...bytes: number[]): Buffer => {
    const copy = Buffer.from(jpeg);
    copy.set(bytes, at);
    return copy;
  };
  const inserted = (at: number, ...bytes: number[]): Buffer =>
    Buffer.concat([jpeg.subarray(0, at), Buffer.from(bytes), jpeg.subarray(at)]);

  it('a scan that holds more than its MCUs, or is not followed by the end', () => {
    const end = jpeg.length - 2;
    const restart = jpeg.indexOf(Buffer.from([0xff, 0xd1]));
    assert.equal(whole(jpeg), 'rows');
    assert.equal(whole(inserted(end, 0xff, 0xff)), 'rows', 'fill bytes are none');
    assert.equal(whole(Buffer.concat([jpeg, Buffer.from('more')])), 'rows', 'nobody reads on');
    assert.equal(whole(jpeg.subarray(0, end)), 'damaged', 'no end');
    assert.equal(whole(jpeg.subarray(0, end + 1)), 'damaged', 'half an end');
    assert.equal(whole(inserted(end, 0x12)), 'damaged', 'a byte too much');
    assert.equal(whole(inserted(restart, 0x12)), 'damaged', 'a byte too much before a restart');
    assert.equal(whole(inserted(end, 0xff, 0xd0)), 'damaged', 'a restart after the last MCU');
    assert.equal(whole(inserted(end, 0xff, 0xfe, 0, 2)), 'damaged', 'a comment there');
  });

  it('a header that breaks a rule', () => {
    const scan = segmentAt(jpeg, 0xda);
    const jfif = segmentAt(jpeg, 0xe0);
    const huffman = segmentAt(jpeg, 0xc4);
    assert.equal(whole(changed(scan.start + scan.length - 2, 62)), 'unsupported', 'a spectral band');
    assert.equal(whole(changed(jfif.start + 9, 2)), 'unsupported', 'JFIF 2');
    assert.equal(whole(inserted(2, 0xff, 0xf0, 0, 2)), 'damaged', 'a marker of extensions');
    const onlyCode = [0xff, 0xc4, 0, 21, 0, 2, ...new Array(15).fill(0), 0, 1];
    assert.equal(whole(inserted(huffman.start, ...onlyCode)), 'damaged', 'a code of all ones');
  });

  it('another size, or more memory than 300 MB', () => {
    assert.equal(decoder.decode(jpeg, { width: 39, height: 39 }), 'damaged');
    assert.equal(decoder.decode(jpeg, { width: 10_000, height: 10_000 }), 'unsupported');
  });

  it(`so that of ${FILES} damaged files libjpeg-turbo takes each one that is taken here`, (t) => {
    const draw = generator(20_261_123);
    const files = [...small, ...photos.filter(({ jpeg }) => jpeg.length < 20_000)];
    const results = { rows: 0, unsupported: 0, damaged: 0, refusedByBoth: 0 };
    for (let i = 0; i < FILES; i++) {
      const damaged = corrupted((files[draw(files.length)] as Named).jpeg, draw);
      const size = readJpegHeader(damaged);
      if (!size || size.width * size.height === 0 || size.width * size.height > 1_000_000) continue;
      const rows = decoder.decode(damaged, size);
      const taken = decodeJpegInto(damaged, size, Buffer.alloc(size.width * size.height * 3));
      results[typeof rows === 'string' ? rows : 'rows']++;
      if (typeof rows !== 'string') assert.ok(taken, `file ${i}`);
      else if (!taken) results.refusedByBoth++;
    }
    t.diagnostic(JSON.stringify(results));
    for (const count of Object.values(results)) assert.ok(count > FILES / 200, JSON.stringify(results));
  });
});
