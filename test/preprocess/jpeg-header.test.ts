import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readJpegHeader, walkScans } from '../../preprocess/jpeg-header.ts';
import { jpeg, picture } from './photos.ts';

test('an ordinary photo: frame, sampling, colour model', async () => {
  const header = readJpegHeader(await jpeg(60, 50));
  assert.ok(header);
  const { scanStart, ...rest } = header;
  assert.ok(scanStart > 0);
  assert.deepEqual(rest, {
    coding: 'sequential',
    arithmetic: false,
    precision: 8,
    width: 60,
    height: 50,
    components: [
      { id: 1, h: 2, v: 2 },
      { id: 2, h: 1, v: 1 },
      { id: 3, h: 1, v: 1 },
    ],
    colour: 'YCbCr',
    profile: false,
    orientation: 1,
    manyScans: false,
  });
});

test('grey, progressive, CMYK, a profile and an orientation are seen', async () => {
  const of = async (image: ReturnType<typeof picture>) => readJpegHeader(await image.toBuffer());
  assert.equal((await of(picture(20, 20).toColourspace('b-w').jpeg()))?.colour, 'grey');
  assert.equal((await of(picture(20, 20).toColourspace('cmyk').jpeg()))?.colour, 'CMYK');
  assert.equal((await of(picture(20, 20).withIccProfile('p3').jpeg()))?.profile, true);
  assert.equal((await of(picture(20, 20).withMetadata({ orientation: 6 }).jpeg()))?.orientation, 6);
  const progressive = await of(picture(20, 20).jpeg({ progressive: true }));
  assert.equal(progressive?.coding, 'progressive');
  assert.equal(progressive?.manyScans, true);
});

test('scans are counted no further than asked, and the end is seen', async () => {
  const file = await picture(64, 64).jpeg({ progressive: true }).toBuffer();
  const scanStart = readJpegHeader(file)?.scanStart as number;
  const { scans, ending } = walkScans(file, scanStart, 1000);
  assert.ok(scans > 5 && ending === 'whole', `${scans} ${ending}`);
  assert.equal(walkScans(file, scanStart, 3).scans, 3);
  assert.equal(walkScans(file.subarray(0, -2), scanStart, 1000).ending, 'cut');
  assert.equal(walkScans(Buffer.concat([file.subarray(0, -2), file]), scanStart, 1000).ending, 'cut');
  const damaged = Buffer.from(file);
  damaged.set([0xff, 0x4f], scanStart + 3);
  assert.equal(walkScans(damaged, scanStart, 1000).ending, 'damaged');
});

test('whatever is changed in a file, or cut off, nothing outside of it is read', async () => {
  const files = [
    await picture(32, 32).withMetadata({ orientation: 3 }).jpeg().toBuffer(),
    await picture(32, 32).withIccProfile('p3').jpeg({ progressive: true }).toBuffer(),
  ];
  const change = fc.record({ at: fc.nat(), value: fc.integer({ min: 0, max: 255 }) });
  fc.assert(
    fc.property(fc.constantFrom(...files), fc.array(change, { maxLength: 8 }), fc.nat(), (file, changes, cut) => {
      const changed = Buffer.from(file.subarray(0, file.length - (cut % file.length)));
      // Most of them in the headers, which is where indexes come from.
      for (const { at, value } of changes) changed[at % Math.min(700, changed.length)] = value;
      const header = readJpegHeader(changed);
      if (!header) return;
      assert.ok(header.scanStart <= changed.length && header.orientation >= 1 && header.orientation <= 8);
      assert.ok(walkScans(changed, header.scanStart, 10).scans <= 10);
    }),
    { numRuns: 2000 },
  );
});
