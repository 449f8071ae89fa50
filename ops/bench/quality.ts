// `ops bench quality`: what the stored images lose against a full-quality resize, by each choice that costs quality.

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { type ImageRequest, loadStoreImage, type PixelSettings } from '#preprocess';
import { lanczos, luma, psnr, ssim } from './image-quality.ts';

export interface QualityOptions {
  /** Folder of class folders of JPEGs. */
  readonly photos: string;
  /** At most so many of them, the largest first; a bucket takes those that it makes smaller. */
  readonly images: number;
  readonly say: (line: string) => void;
}

export interface QualityRow {
  /** What varies: `settings`, `decoder` (libjpeg-turbo's fast DCT or sharp's accurate one, not our own), `reduction`. */
  readonly study: 'settings' | 'decoder' | 'reduction';
  readonly shortSide: number;
  readonly kernel: PixelSettings['kernel'];
  readonly quality: number;
  readonly chroma: PixelSettings['chroma'];
  /** `decoder`: which; `reduction`: `on` or `off`. */
  readonly way: string;
  readonly images: number;
  /** Of luma against a Lanczos resize in doubles of the accurate decode, without JPEG, dB; mean over the images. */
  readonly psnr: number;
  /** Of red, green and blue together: luma does not see the chroma. */
  readonly psnrRgb: number;
  readonly ssim: number;
  /** JPEG bytes an image. */
  readonly bytes: number;
}

export interface QualityResult {
  readonly rows: readonly QualityRow[];
}

const SHORT_SIDES = [160, 256, 320];
/** Of the reduction study: 532 px and more are reduced by 2, by 3, and while they are decoded. */
const FAR_SIDES = [88, 58, 29];
const FAR_SHORT = 532;
const DEFAULTS: PixelSettings = { kernel: 'lanczos3', quality: 90, chroma: '4:2:0', orientation: 'ignore' };

const SETTINGS: readonly PixelSettings[] = (['lanczos3', 'bicubic', 'bilinear'] as const).flatMap((kernel) =>
  [85, 90, 95].flatMap((quality) =>
    (['4:2:0', '4:4:4'] as const).map((chroma) => ({ ...DEFAULTS, kernel, quality, chroma })),
  ),
);

interface Photo {
  readonly jpeg: Buffer;
  /** The same with a comment behind the scan, which leaves it to libjpeg-turbo. */
  readonly commented: Buffer;
  /** The same pixels without loss, which leaves them to sharp. */
  readonly png: Buffer;
  readonly data: Buffer;
  readonly width: number;
  readonly height: number;
}

export async function benchQuality(options: QualityOptions): Promise<QualityResult> {
  const photos = await load(options);
  const store = await loadStoreImage();
  const studies = new Map<string, Study>();
  for (const [i, photo] of photos.entries()) {
    options.say(`photo ${i + 1} of ${photos.length}`);
    const short = Math.min(photo.width, photo.height);
    const add = async (label: Label, file: Buffer, sides: readonly number[], extra: readonly number[] = []) => {
      const buckets = [...sides, ...extra].map((shortSide) => ({ resolution: shortSide, shortSide }));
      const { kernel, quality, chroma } = label;
      const pixels: PixelSettings = { ...DEFAULTS, kernel, quality, chroma };
      const request: ImageRequest = { split: 'train', buckets, pixels, timeoutMs: 60_000 };
      const result = await store(file, request);
      if (!result.ok) throw new Error(`${result.code}: ${result.reason}`);
      if (label.study === 'decoder' && result.decoder !== label.way) throw new Error(`${result.decoder} decoded it`);
      for (const [k, shortSide] of sides.entries()) {
        const { jpg, width, height } = result.images[k] as (typeof result.images)[number];
        const key = JSON.stringify({ ...label, shortSide });
        const study = studies.get(key) ?? new Study({ ...label, shortSide });
        studies.set(key, study);
        study.add(reference(photo, width, height), await sharp(jpg).raw().toBuffer(), width, jpg.length);
      }
    };
    const reference = references();
    const sides = SHORT_SIDES.filter((side) => side < short);
    if (sides.length === 0) continue;
    for (const settings of SETTINGS) await add({ study: 'settings', way: '', ...settings }, photo.jpeg, sides);
    await add({ study: 'decoder', way: 'libjpeg-turbo', ...DEFAULTS }, photo.commented, sides);
    await add({ study: 'decoder', way: 'sharp', ...DEFAULTS }, photo.png, sides);
    if (short < FAR_SHORT) continue;
    for (const side of FAR_SIDES) {
      await add({ study: 'reduction', way: 'on', ...DEFAULTS }, photo.jpeg, [side]);
      // A bucket as large as the source keeps it from being reduced.
      await add({ study: 'reduction', way: 'off', ...DEFAULTS }, photo.jpeg, [side], [short]);
    }
  }
  return { rows: [...studies.values()].map((study) => study.row()) };
}

type Label = Omit<QualityRow, 'shortSide' | 'images' | 'psnr' | 'psnrRgb' | 'ssim' | 'bytes'>;

/** The means of one row. */
class Study {
  readonly #label: Label & { shortSide: number };
  #images = 0;
  #psnr = 0;
  #psnrRgb = 0;
  #ssim = 0;
  #bytes = 0;

  constructor(label: Label & { shortSide: number }) {
    this.#label = label;
  }

  add(wanted: Float64Array, rgb: Buffer, width: number, bytes: number): void {
    const [got, target] = [luma(rgb), luma(wanted)];
    this.#images++;
    this.#psnr += psnr(got, target);
    this.#psnrRgb += psnr(rgb, wanted);
    this.#ssim += ssim(got, target, width);
    this.#bytes += bytes;
  }

  row(): QualityRow {
    const { study, shortSide, kernel, quality, chroma, way } = this.#label;
    const mean = (sum: number): number => sum / this.#images;
    return {
      ...{ study, shortSide, kernel, quality, chroma, way },
      images: this.#images,
      psnr: mean(this.#psnr),
      psnrRgb: mean(this.#psnrRgb),
      ssim: mean(this.#ssim),
      bytes: mean(this.#bytes),
    };
  }
}

/** One photo's references: RGB by size, each made once. */
function references(): (photo: Photo, width: number, height: number) => Float64Array {
  const made = new Map<string, Float64Array>();
  return (photo, width, height) => {
    const key = `${width}x${height}`;
    const wanted = made.get(key) ?? lanczos(photo, width, height);
    made.set(key, wanted);
    return wanted;
  };
}

/** The largest photos first: only they can be made smaller to every bucket. */
async function load({ photos, images }: QualityOptions): Promise<Photo[]> {
  const names = (await readdir(photos, { recursive: true })).filter((name) => /\.jpe?g$/i.test(name)).sort();
  const all = await Promise.all(
    names.map(async (name) => {
      const { width, height } = await sharp(join(photos, name)).metadata();
      return { name, pixels: width * height };
    }),
  );
  const chosen = all.sort((a, b) => b.pixels - a.pixels).slice(0, images);
  return Promise.all(
    chosen.map(async ({ name }) => {
      const jpeg = await readFile(join(photos, name));
      const { data, info } = await sharp(jpeg).removeAlpha().raw().toBuffer({ resolveWithObject: true });
      const { width, height } = info;
      const png = await sharp(data, { raw: { width, height, channels: 3 } })
        .png({ compressionLevel: 1 })
        .toBuffer();
      const end = jpeg.lastIndexOf(Buffer.from([0xff, 0xd9]));
      const commented = Buffer.concat([jpeg.subarray(0, end), Buffer.from([0xff, 0xfe, 0, 2]), jpeg.subarray(end)]);
      return { jpeg, commented, png, data, width, height };
    }),
  );
}
