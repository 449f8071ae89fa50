// Pillow's bilinear resize of 8-bit pixels to the bit, and torchvision's sizes: how published top-1 figures are measured.
//
// Pillow's `Image.resize(size, BILINEAR)`, which torchvision's `Resize` is on PIL images: a triangle of half-width
// max(1, scale) around each output's middle, first along the rows, then down the columns, rounded to 8 bits after each.
// Weights are whole 2⁻²² parts, each rounded by itself, so that their sum may be off by a few of them. Slower than
// the kernel of `resize.as.ts`, whose weights have 14 bits.

/** U8 [height, width, 3]. */
export interface RgbImage {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
}

const WEIGHT_BITS = 22;
const HALF = 1 << (WEIGHT_BITS - 1);

/** For each output the first source pixel and its weights. */
interface Taps {
  readonly first: Int32Array;
  readonly count: Int32Array;
  /** [outputs, most]. */
  readonly weights: Int32Array;
  readonly most: number;
}

function tapsOf(source: number, target: number): Taps {
  const scale = source / target;
  const stretch = Math.max(1, scale);
  const most = Math.ceil(stretch) * 2 + 1;
  const taps = {
    first: new Int32Array(target),
    count: new Int32Array(target),
    weights: new Int32Array(target * most),
    most,
  };
  const exact = new Float64Array(most);
  for (let output = 0; output < target; output++) {
    const centre = (output + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - stretch + 0.5));
    const count = Math.min(source, Math.trunc(centre + stretch + 0.5)) - first;
    let sum = 0;
    for (let k = 0; k < count; k++) {
      const distance = Math.abs((first + k - centre + 0.5) * (1 / stretch));
      exact[k] = distance < 1 ? 1 - distance : 0;
      sum += exact[k] as number;
    }
    taps.first[output] = first;
    taps.count[output] = count;
    for (let k = 0; k < count; k++)
      taps.weights[output * most + k] = Math.trunc(0.5 + ((exact[k] as number) / sum) * (1 << WEIGHT_BITS));
  }
  return taps;
}

/**
 * torchvision's `Resize(shortSide)`: the short side at `shortSide`, the long one in proportion, rounded down. (Where the
 * proportion changes much, newer Pillows go down the columns first, for speed; here it never does.)
 */
export function resizeShortSide(image: RgbImage, shortSide: number): RgbImage {
  const { width, height } = image;
  const long = Math.trunc((shortSide * Math.max(width, height)) / Math.min(width, height));
  const size = width <= height ? { width: shortSide, height: long } : { width: long, height: shortSide };
  return resizeColumns(resizeRows(image, size.width), size.height);
}

/** torchvision's `CenterCrop(side)` of an image at least that large. */
export function centreSquare({ data, width, height }: RgbImage, side: number): RgbImage {
  const left = roundHalfToEven((width - side) / 2);
  const top = roundHalfToEven((height - side) / 2);
  const square = new Uint8Array(side * side * 3);
  for (let y = 0; y < side; y++) {
    const from = ((top + y) * width + left) * 3;
    square.set(data.subarray(from, from + side * 3), y * side * 3);
  }
  return { data: square, width: side, height: side };
}

/** Python's `round`, of halves. */
function roundHalfToEven(value: number): number {
  const below = Math.floor(value);
  return below + Number(value - below === 0.5 ? below % 2 !== 0 : false);
}

/** Each row to `width` pixels. */
function resizeRows(image: RgbImage, width: number): RgbImage {
  if (image.width === width) return image;
  const { first, count, weights, most } = tapsOf(image.width, width);
  const { data: source, height } = image;
  const data = new Uint8Array(height * width * 3);
  let to = 0;
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      let [red, green, blue] = [HALF, HALF, HALF];
      let from = (y * image.width + (first[x] as number)) * 3;
      const end = x * most + (count[x] as number);
      for (let k = x * most; k < end; k++) {
        const weight = weights[k] as number;
        red += weight * (source[from++] as number);
        green += weight * (source[from++] as number);
        blue += weight * (source[from++] as number);
      }
      data[to++] = clipped(red);
      data[to++] = clipped(green);
      data[to++] = clipped(blue);
    }
  return { data, width, height };
}

/** Each column to `height` pixels. */
function resizeColumns(image: RgbImage, height: number): RgbImage {
  if (image.height === height) return image;
  const { first, count, weights, most } = tapsOf(image.height, height);
  const { data: source, width } = image;
  const stride = width * 3;
  const data = new Uint8Array(height * stride);
  const row = new Int32Array(stride);
  for (let y = 0; y < height; y++) {
    row.fill(HALF);
    for (let k = 0; k < (count[y] as number); k++) {
      const weight = weights[y * most + k] as number;
      let from = ((first[y] as number) + k) * stride;
      for (let x = 0; x < stride; x++) row[x] = (row[x] as number) + weight * (source[from++] as number);
    }
    for (let x = 0; x < stride; x++) data[y * stride + x] = clipped(row[x] as number);
  }
  return { data, width, height };
}

/** Weights that sum to a little more than one may carry 255 over. */
function clipped(sum: number): number {
  return Math.min(255, sum >> WEIGHT_BITS);
}
