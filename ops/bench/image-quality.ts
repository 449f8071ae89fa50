// How close one image is to another: PSNR and SSIM of luma.

/** Luma of interleaved RGB (ITU-R BT.601), not rounded. */
export function luma(rgb: ArrayLike<number>): Float64Array {
  const out = new Float64Array(rgb.length / 3);
  for (let i = 0; i < out.length; i++) {
    const [r, g, b] = [rgb[3 * i] as number, rgb[3 * i + 1] as number, rgb[3 * i + 2] as number];
    out[i] = 0.299 * r + 0.587 * g + 0.114 * b;
  }
  return out;
}

/** Peak signal to noise ratio of 8-bit images, dB. */
export function psnr(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += ((a[i] as number) - (b[i] as number)) ** 2;
  return 10 * Math.log10((255 * 255) / (sum / a.length));
}

/** Windows of 8 × 8 px, every fourth pixel. */
const WINDOW = 8;
const STEP = 4;

/**
 * Structural similarity (Wang et al., "Image quality assessment", 2004: K₁ = 0.01, K₂ = 0.03, L = 255): the mean over
 * square windows, evenly weighted.
 */
export function ssim(a: Float64Array, b: Float64Array, width: number): number {
  const height = a.length / width;
  const c1 = (0.01 * 255) ** 2;
  const c2 = (0.03 * 255) ** 2;
  const n = WINDOW * WINDOW;
  let sum = 0;
  let windows = 0;
  for (let top = 0; top + WINDOW <= height; top += STEP)
    for (let left = 0; left + WINDOW <= width; left += STEP) {
      let [sa, sb, saa, sbb, sab] = [0, 0, 0, 0, 0];
      for (let y = top; y < top + WINDOW; y++)
        for (let x = left; x < left + WINDOW; x++) {
          const p = a[y * width + x] as number;
          const q = b[y * width + x] as number;
          sa += p;
          sb += q;
          saa += p * p;
          sbb += q * q;
          sab += p * q;
        }
      const [ma, mb] = [sa / n, sb / n];
      const [va, vb, cov] = [saa / n - ma * ma, sbb / n - mb * mb, sab / n - ma * mb];
      sum += ((2 * ma * mb + c1) * (2 * cov + c2)) / ((ma * ma + mb * mb + c1) * (va + vb + c2));
      windows++;
    }
  return sum / windows;
}

export interface RgbImage {
  readonly data: ArrayLike<number>;
  readonly width: number;
  readonly height: number;
}

/** Antialiased Lanczos (a = 3) in doubles, straight from its definition: what a stored image is measured against. */
export function lanczos(image: RgbImage, width: number, height: number): Float64Array {
  const columns = taps(image.width, width);
  const narrow = new Float64Array(image.height * width * 3);
  for (let y = 0; y < image.height; y++)
    for (const [x, { start, weights }] of columns.entries())
      for (const [k, weight] of weights.entries())
        for (let c = 0; c < 3; c++)
          narrow[(y * width + x) * 3 + c] =
            (narrow[(y * width + x) * 3 + c] as number) +
            weight * (image.data[(y * image.width + start + k) * 3 + c] as number);
  const out = new Float64Array(height * width * 3);
  for (const [y, { start, weights }] of taps(image.height, height).entries())
    for (const [k, weight] of weights.entries())
      for (let i = 0; i < width * 3; i++)
        out[y * width * 3 + i] =
          (out[y * width * 3 + i] as number) + weight * (narrow[(start + k) * width * 3 + i] as number);
  return out.map((value) => Math.min(255, Math.max(0, value)));
}

function taps(source: number, target: number): { start: number; weights: number[] }[] {
  const scale = source / target;
  return Array.from({ length: target }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const start = Math.max(0, Math.ceil(centre - 3 * scale - 0.5));
    const end = Math.min(source, Math.floor(centre + 3 * scale - 0.5) + 1);
    const raw = Array.from({ length: end - start }, (_, k) => window((start + k + 0.5 - centre) / scale));
    const sum = raw.reduce((a, b) => a + b);
    return { start, weights: raw.map((weight) => weight / sum) };
  });
}

function window(x: number): number {
  if (x === 0) return 1;
  const angle = Math.PI * x;
  return Math.abs(x) < 3 ? (3 * Math.sin(angle) * Math.sin(angle / 3)) / (angle * angle) : 0;
}
