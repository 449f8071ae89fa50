// In WebAssembly (AssemblyScript): how the outputs of one axis of a plane are made of its samples. Doubles, with + − × ÷ only,
// so that the tables are the same on every machine.
//
// The filter is Pillow's antialiased bilinear over the image's pixels. A plane with half as many samples (chroma) gives its
// pixels by libjpeg's "fancy" upsampling, ¾ of the nearest sample and ¼ of the next; the table holds the product of the two,
// so the result is that of upsampling first, without the work.

/** Weights are Q8: an output's sum to this. */
const ONE: f64 = 256;

/** The most weights that an output may have, and two, which is the least that the kernel takes. */
export function tapsOf(length: i32, target: i32, halved: bool): i32 {
  const scale = <f64>length / <f64>target;
  const pixels = <i32>ceil(2 * max(1.0, scale));
  return halved ? pixels / 2 + 2 : pixels;
}

/**
 * Fills `starts` (i32 [outputs], in the plane's samples) and `weights` (i16 [outputs, taps]) for `target` outputs of pixels
 * `from` … `from + length`; where there are more outputs the last is repeated. The plane has `samples`, of which the first
 * is number `first` of the image's. `mirrored`: in reverse order. `raw`: scratch of 8 · taps bytes.
 */
export function fillAxis(
  starts: usize,
  weights: usize,
  taps: i32,
  outputs: i32,
  target: i32,
  from: i32,
  length: i32,
  first: i32,
  samples: i32,
  halved: bool,
  mirrored: bool,
  raw: usize,
): void {
  const scale = <f64>length / <f64>target;
  const support = max(1.0, scale);
  const slope = 1.0 / support;
  const last = first + samples - 1;
  let weight = weights;
  for (let slot = 0; slot < outputs; slot++) {
    const output = min(slot, target - 1);
    const centre = <f64>from + (<f64>(mirrored ? target - 1 - output : output) + 0.5) * scale;
    const begin = max(from, <i32>floor(centre - support + 0.5));
    const end = min(from + length, <i32>ceil(centre + support - 0.5));
    const base = halved ? max(first, (begin - 1) >> 1) : begin;
    memory.fill(raw, 0, (<usize>taps) << 3);
    let sum: f64 = 0;
    for (let pixel = begin; pixel < end; pixel++) {
      const share = 1.0 - abs(<f64>pixel + 0.5 - centre) * slope;
      sum += share;
      if (halved) {
        const near = pixel >> 1;
        add(raw, near - base, taps, 0.75 * share);
        add(raw, (pixel & 1 ? min(near + 1, last) : max(near - 1, first)) - base, taps, 0.25 * share);
      } else add(raw, pixel - base, taps, share);
    }
    // At the plane's end the table begins earlier, so that no row behind it is read.
    const start = max(0, min(base - first, samples - taps));
    const shift = base - first - start;
    store<i32>(starts + ((<usize>slot) << 2), start);
    // Rounding the running sum, not each weight, makes the whole exactly ONE.
    const unit = ONE / sum;
    let running = 0.5;
    let before = 0;
    for (let k = 0; k < taps; k++, weight += 2) {
      if (k >= shift) running += load<f64>(raw + ((<usize>(k - shift)) << 3)) * unit;
      const rounded = <i32>running;
      store<i16>(weight, rounded - before);
      before = rounded;
    }
  }
}

/** More than `taps` can only come of rounding; such a share is nothing. */
function add(raw: usize, at: i32, taps: i32, share: f64): void {
  if (<u32>at >= <u32>taps) return;
  const address = raw + ((<usize>at) << 3);
  store<f64>(address, load<f64>(address) + share);
}
