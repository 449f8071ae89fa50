// Photos as ImageNet has them, for benchmarks: sizes, quality, chroma and bytes drawn after ImageNet's own statistics,
// pixels from the photos of test/fixtures. An approximation, and the same one on every machine with the same sharp.
//
// What is known of ILSVRC-2012 and kept here:
// - bytes: ILSVRC2012_img_train.tar has 147,897,477,120 bytes for 1,281,167 photos, 115 KB each with tar's padding;
// - sizes: 500 pixels is the usual long side, 500 × 375 the most frequent size; means of 469 × 387 are quoted (CS231n); the
//   largest have tens of megapixels, the smallest less than 100 pixels a side;
// - coding: "the vast majority" has full chroma (4:4:4) and quality 96 (M. Ehrlich, Compression in the ImageNet
//   Dataset, 2021).
// The shares in SIZES are a guess within these bounds. The largest size here is 2592 × 1944.

import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packageRoot } from '../setup/plain.ts';
import { cachedFolder } from './cached.ts';

/** Width, height, share in thousandths. */
const SIZES: readonly (readonly [number, number, number])[] = [
  [500, 375, 360],
  [375, 500, 105],
  [500, 333, 150],
  [333, 500, 50],
  [500, 400, 30],
  [400, 500, 15],
  [500, 500, 30],
  [500, 281, 18],
  [640, 480, 37],
  [480, 640, 10],
  [400, 300, 40],
  [320, 240, 35],
  [240, 320, 10],
  [250, 188, 30],
  [180, 150, 20],
  [110, 95, 5],
  [800, 600, 22],
  [600, 800, 5],
  [1024, 768, 12],
  [1280, 960, 6],
  [1600, 1200, 6],
  [2048, 1536, 2],
  [2592, 1944, 2],
];

const SETTINGS = {
  version: 1,
  sizes: SIZES,
  /** One photo in 26 goes to val, as 50,000 of 1,331,167 do. */
  valEvery: 26,
  full: { share: 0.8, quality: 96, chroma: '4:4:4' },
  /** Of the rest; qualities are drawn evenly between the two. */
  light: { quality: [75, 92], chroma: '4:2:0' },
  /** A photo is scaled by so much before it is laid out: it sets how much detail, so how many bytes a pixel has. */
  zoom: { small: [0.45, 0.9], large: [1, 1.8], largeFrom: 480_000 },
} as const;

/** The least that has val and, in train, every class. */
export const LEAST_IMAGES = 52;

export interface PhotoSet {
  /** Holds train/CLASS/* and val/CLASS/*. */
  readonly dir: string;
  readonly images: number;
  readonly bytes: number;
  readonly meanWidth: number;
  readonly meanHeight: number;
}

/** Path inside the set, size, and how it is made of which photo. */
export interface Picture {
  readonly path: string;
  readonly photo: number;
  readonly width: number;
  readonly height: number;
  readonly quality: number;
  readonly chroma: '4:4:4' | '4:2:0';
  readonly zoom: number;
  readonly flop: boolean;
}

/** Pictures 0 … images−1; a smaller set is the beginning of a larger one. `classes`: the class of each photo. */
export function planPictures(images: number, classes: readonly string[]): Picture[] {
  return Array.from({ length: images }, (_, i) => {
    // A stride with no factor in common with the photos' number meets all of them, mixed.
    const photo = (i * 37) % classes.length;
    const [width, height] = sizeAt(spread(i, 0));
    const full = spread(i, 1) < SETTINGS.full.share;
    const [low, high] = SETTINGS.light.quality;
    const zooms = width * height < SETTINGS.zoom.largeFrom ? SETTINGS.zoom.small : SETTINGS.zoom.large;
    const name = classes[photo] as string;
    return {
      path: `${i % SETTINGS.valEvery === 0 ? 'val' : 'train'}/${name}/${name}_${String(i).padStart(7, '0')}.JPEG`,
      photo,
      width,
      height,
      quality: full ? SETTINGS.full.quality : Math.round(low + (high - low) * spread(i, 2)),
      chroma: full ? SETTINGS.full.chroma : SETTINGS.light.chroma,
      zoom: zooms[0] + (zooms[1] - zooms[0]) * spread(i, 3),
      flop: spread(i, 4) < 0.5,
    };
  });
}

/** Fractions of the square roots of primes: sequences that fill [0, 1) evenly, so that small sets have the shares, too. */
const STEPS = [2, 3, 5, 7, 11].map((prime) => Math.sqrt(prime) % 1);

const spread = (i: number, draw: number): number => ((i + 0.5) * (STEPS[draw] as number)) % 1;

function sizeAt(share: number): readonly [number, number] {
  let left = share * SIZES.reduce((sum, [, , thousandths]) => sum + thousandths, 0);
  for (const [width, height, thousandths] of SIZES) {
    left -= thousandths;
    if (left < 0) return [width, height];
  }
  return [500, 375]; // rounding at the very end
}

/** The set of so many pictures, made once; 1000 take about 20 s on 2 cores. */
export async function photoSet(images: number, say: (line: string) => void): Promise<PhotoSet> {
  const { default: sharp } = await import('sharp');
  const root = fileURLToPath(new URL('test/fixtures/photos', packageRoot));
  const files = (await readdir(root, { recursive: true })).filter((file) => file.endsWith('.JPEG')).sort();
  const photos = await Promise.all(files.map((file) => readFile(join(root, file))));
  const source = createHash('sha256');
  for (const photo of photos) source.update(photo);
  const settings = {
    ...SETTINGS,
    images,
    photos: source.digest('hex'),
    encoder: [sharp.versions.sharp, sharp.versions.vips, process.arch],
  };
  const make = async (aside: string): Promise<void> => {
    say(`making ${images} photos as ImageNet has them, once`);
    const classes = files.map((file) => basename(dirname(file)));
    const left = planPictures(images, classes).values();
    let bytes = 0;
    const sums = { width: 0, height: 0 };
    const draw = async (): Promise<void> => {
      for (const picture of left) {
        const jpg = await render(photos[picture.photo] as Buffer, picture);
        await mkdir(join(aside, dirname(picture.path)), { recursive: true });
        await writeFile(join(aside, picture.path), jpg);
        bytes += jpg.length;
        sums.width += picture.width;
        sums.height += picture.height;
      }
    };
    await Promise.all(Array.from({ length: availableParallelism() }, draw));
    const card = { images, bytes, meanWidth: sums.width / images, meanHeight: sums.height / images };
    await writeFile(join(aside, CARD), JSON.stringify(card));
  };
  const dir = await cachedFolder({ name: 'bench-photos', settings, say, make });
  return { dir, ...(JSON.parse(await readFile(join(dir, CARD), 'utf8')) as Omit<PhotoSet, 'dir'>) };
}

const CARD = 'photos.json';

/** A photo, scaled and then repeated by reflection until it fills the picture: detail a pixel stays that of a photo. */
async function render(photo: Buffer, { width, height, quality, chroma, zoom, flop }: Picture): Promise<Buffer> {
  const { default: sharp } = await import('sharp');
  const { width: w, height: h } = await sharp(photo).metadata();
  const [zw, zh] = [Math.round(w * zoom), Math.round(h * zoom)];
  const laid = await sharp(photo)
    .resize(zw, zh, { fit: 'fill' })
    .extend({ right: Math.max(0, width - zw), bottom: Math.max(0, height - zh), extendWith: 'mirror' })
    .raw()
    .toBuffer({ resolveWithObject: true });
  return sharp(laid.data, { raw: laid.info })
    .extract({ left: 0, top: 0, width, height })
    .flop(flop)
    .jpeg({ quality, chromaSubsampling: chroma, optimiseCoding: false })
    .toBuffer();
}

/** Reads every file once, so that no contender pays for the disk. @returns their paths under `dir`, sorted */
export async function warm({ dir }: PhotoSet): Promise<string[]> {
  const all = await readdir(dir, { recursive: true, withFileTypes: true });
  const files = all.filter((entry) => entry.isFile() && entry.name.endsWith('.JPEG'));
  const paths = files.map((entry) => join(entry.parentPath ?? entry.path, entry.name)).sort();
  for (const path of paths) await readFile(path);
  return paths.map((path) => relative(dir, path));
}
