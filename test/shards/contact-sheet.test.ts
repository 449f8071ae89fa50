import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import sharp from 'sharp';
import { contactSheet, Fault, type Tile, writeImage } from '#shards';
import { drawable, drawText } from '../../shards/bitmap-font.ts';
import { temporaryFolder } from './dataset.ts';

const SIDE = 40;

const tile = (value: number, caption?: readonly string[]): Tile => ({
  pixels: new Uint8Array(SIDE * SIDE * 3).fill(value),
  ...(caption && { caption }),
});

async function pixelsOf(
  png: Buffer,
): Promise<{ width: number; height: number; at: (x: number, y: number) => number[] }> {
  const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
  const at = (x: number, y: number): number[] => [
    ...data.subarray(3 * (y * info.width + x), 3 * (y * info.width + x) + 3),
  ];
  return { width: info.width, height: info.height, at };
}

test('tiles stand in rows on a white sheet with four pixels between them', async () => {
  const { width, height, at } = await pixelsOf(
    await contactSheet(
      [10, 20, 30].map((value) => tile(value)),
      SIDE,
    ),
  );
  assert.deepEqual([width, height], [92, 92]);
  assert.deepEqual(
    [at(4, 4), at(43, 43), at(48, 4), at(4, 48)].map(([red]) => red),
    [10, 10, 20, 30],
  );
  for (const [x, y] of [
    [3, 4],
    [44, 4],
    [4, 44],
    [48, 48],
  ] as const)
    assert.deepEqual(at(x, y), [255, 255, 255]);
});

test('a caption stands below its tile and never beside it, however long it is', async () => {
  const { width, height, at } = await pixelsOf(await contactSheet([tile(99, ['MMMMMMMMMMMMMMMM', 'm'])], SIDE));
  assert.deepEqual([width, height], [48, 72]);
  const black = Array.from({ length: width * height }, (_, i) => [i % width, Math.floor(i / width)] as const).filter(
    ([x, y]) => at(x, y)[0] === 0,
  );
  assert.ok(black.length > 40);
  for (const [x, y] of black) assert.ok(x >= 4 && x < 44 && y >= 48 && y < 68, `${x}, ${y}`);
});

test('every printable character has a picture of its own', () => {
  const seen = new Map<string, string>();
  for (let code = 32; code < 127; code++) {
    const character = String.fromCharCode(code);
    const dots: string[] = [];
    drawText(character, (x, y) => {
      assert.ok(x >= 0 && x < 5 && y >= 0 && y < 9, `${character} at ${x}, ${y}`);
      dots.push(`${x},${y}`);
    });
    const picture = dots.join(' ');
    assert.equal(seen.get(picture), undefined, `${character} looks like ${seen.get(picture)}`);
    seen.set(picture, character);
    assert.equal(dots.length === 0, character === ' ');
  }
});

test('any text can be drawn: accents are dropped, other scripts become question marks', () => {
  assert.equal(drawable('crêpe, façade\n寿'), 'crepe, facade??');
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => drawText(text, () => {})));
});

test('a picture that cannot be written is a Fault that names the option', async (t) => {
  const file = join(await temporaryFolder(t), 'no/such/folder.png');
  await assert.rejects(
    writeImage(file, Buffer.from('x')),
    (error) => error instanceof Fault && error.code === 'image-not-written' && error.received.includes(file),
  );
});
