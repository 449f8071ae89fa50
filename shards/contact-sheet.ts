// Many small images on one sheet, each with a caption.

import { writeFile } from 'node:fs/promises';
import { ADVANCE, drawable, drawText, GLYPH_HEIGHT } from './bitmap-font.ts';
import { Fault } from './errors.ts';

export interface Tile {
  /** U8 RGB, a square. */
  readonly pixels: Uint8Array;
  /** Lines below it; what is wider than the tile is cut. */
  readonly caption?: readonly string[];
}

/** Pixels between tiles, and between a tile and its caption. */
const GAP = 4;
const CHANNELS = 3;
const WHITE = 255;

/** Tiles of `side` pixels in rows on a white sheet that is about square, as PNG. */
export async function contactSheet(tiles: readonly Tile[], side: number): Promise<Buffer> {
  const columns = Math.ceil(Math.sqrt(tiles.length));
  const lines = Math.max(0, ...tiles.map(({ caption }) => caption?.length ?? 0));
  const scale = Math.max(1, Math.floor(side / 112));
  const lineHeight = (GLYPH_HEIGHT + 1) * scale;
  const pitch = { x: side + GAP, y: side + GAP + (lines > 0 ? lines * lineHeight + GAP : 0) };
  const width = columns * pitch.x + GAP;
  const height = Math.ceil(tiles.length / Math.max(columns, 1)) * pitch.y + GAP;
  const sheet = Buffer.alloc(width * height * CHANNELS, WHITE);
  for (const [i, { pixels, caption = [] }] of tiles.entries()) {
    const left = GAP + (i % columns) * pitch.x;
    const top = GAP + Math.floor(i / columns) * pitch.y;
    const row = side * CHANNELS;
    for (let y = 0; y < side; y++)
      sheet.set(pixels.subarray(y * row, (y + 1) * row), ((top + y) * width + left) * CHANNELS);
    for (const [line, text] of caption.entries()) {
      const below = top + side + GAP + line * lineHeight;
      drawText(fitting(text, Math.floor(side / (ADVANCE * scale))), (x, y) => {
        for (let dy = 0; dy < scale; dy++) {
          const at = ((below + y * scale + dy) * width + left + x * scale) * CHANNELS;
          sheet.fill(0, at, at + scale * CHANNELS);
        }
      });
    }
  }
  const { default: sharp } = await import('sharp');
  return sharp(sheet, { raw: { width, height, channels: CHANNELS } })
    .png()
    .toBuffer();
}

function fitting(text: string, characters: number): string {
  const line = drawable(text);
  return line.length <= characters ? line : `${line.slice(0, Math.max(0, characters - 2))}..`.slice(0, characters);
}

/**
 * Writes a picture where a person asked for it.
 * @throws Fault `image-not-written`
 */
export async function writeImage(file: string, picture: Uint8Array): Promise<void> {
  try {
    await writeFile(file, picture);
  } catch (cause) {
    throw new Fault({
      code: 'image-not-written',
      received: `--image ${file} (${(cause as NodeJS.ErrnoException).code})`,
      expected: 'a file in a folder that exists and may be written to',
      remedy: 'correct --image',
      cause,
    });
  }
}
