// Weights of an antialiased resize along one axis. Only + − × ÷ on doubles, so they are the same on every machine.

export type KernelName = 'lanczos3' | 'bicubic' | 'bilinear';
/** `area`: the mean of what each output covers. */
export type WeightName = KernelName | 'area';

/** Q14: an output's weights sum to exactly this. */
export const ONE = 1 << 14;

/** What the outputs of one axis are made of: output i is Σ weights[i·taps + k] · source[starts[i] + k] / ONE. */
export interface WeightTables {
  readonly starts: Int32Array;
  readonly weights: Int16Array;
}

export interface AxisWeights extends WeightTables {
  /** A multiple of the granule; only where that is more than the source has, `starts[i] + taps` passes its end. */
  readonly taps: number;
}

export interface Axis {
  readonly source: number;
  /** Size after the whole resize. */
  readonly target: number;
  /** The outputs wanted: `length` from `offset` on. */
  readonly offset: number;
  readonly length: number;
  /** In reverse order: a flip. */
  readonly mirrored?: boolean;
}

/** sin(πx) / πx for |x| ≤ 3; exactly 0 at the whole numbers but 0. */
export function sinc(x: number): number {
  if (x === 0) return 1;
  const whole = Math.round(x);
  const angle = Math.PI * (x - whole);
  // sin of |angle| ≤ π/2 by its series: the 12th term is below 1e-17.
  const square = angle * angle;
  let sum = 0;
  for (let n = 23; n >= 1; n -= 2) sum = 1 - (sum * square) / ((n + 1) * (n + 2));
  const sine = angle * sum;
  return (whole % 2 === 0 ? sine : -sine) / (Math.PI * x);
}

/** Keys' cubic with a = −0.5, as Pillow has it. */
function cubic(x: number): number {
  const a = -0.5;
  return x < 1 ? ((a + 2) * x - (a + 3)) * x * x + 1 : ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
}

const KERNELS: Record<KernelName, { readonly support: number; readonly at: (x: number) => number }> = {
  lanczos3: { support: 3, at: (x) => sinc(x) * sinc(x / 3) },
  bicubic: { support: 2, at: cubic },
  bilinear: { support: 1, at: (x) => 1 - x },
};

/** Samples of a kernel a unit; between them it is linear, which is off by less than 1e-6 (a Q14 step is 6e-5). */
const DENSITY = 1024;
const tables = new Map<KernelName, Float64Array>();

function tableOf(kernel: KernelName): Float64Array {
  let table = tables.get(kernel);
  if (!table) {
    const { support, at } = KERNELS[kernel];
    // Two zeros behind the support's end, for the interpolation there.
    table = new Float64Array(support * DENSITY + 2);
    for (let i = 0; i < support * DENSITY; i++) table[i] = at(i / DENSITY);
    tables.set(kernel, table);
  }
  return table;
}

/** How many weights each output has; `granule`: they come in whole multiples of it. */
export function tapsOf(name: WeightName, { source, target }: Axis, granule: number): number {
  return Math.ceil(Math.min(weigherOf(name, source / target).taps, source) / granule) * granule;
}

/** Room for one output's weights in doubles; grows to the largest seen. */
let raw = new Float64Array(64);

/**
 * Fills tables of `starts.length` outputs with `taps` weights each, as `tapsOf` gave them; there may be more outputs
 * than the axis wants: the last one is repeated. A kernel is stretched by a reduction, so that every source pixel has
 * its part (as Pillow does, and PyTorch with antialias); where a side grows, it is not.
 */
export function fillWeights(name: WeightName, axis: Axis, taps: number, { starts, weights }: WeightTables): void {
  const { source, target, offset, length, mirrored = false } = axis;
  const scale = source / target;
  const weigh = weigherOf(name, scale);
  if (raw.length < weigh.taps) raw = new Float64Array(weigh.taps);
  weights.fill(0);
  for (let slot = 0; slot < starts.length; slot++) {
    const output = Math.min(slot, length - 1);
    const centre = (offset + (mirrored ? length - 1 - output : output) + 0.5) * scale;
    const start = Math.max(0, Math.floor(centre - weigh.reach + 0.5));
    const end = Math.min(source, Math.ceil(centre + weigh.reach - 0.5));
    // One more than the most can come of rounding; its weight is 0.
    const count = Math.min(end - start, weigh.taps);
    const sum = weigh.fill(raw, start + 0.5 - centre, count);
    const first = Math.max(0, Math.min(start, source - taps));
    starts[slot] = first;
    // Rounding the running sum, not each weight, makes the whole exactly ONE.
    const unit = ONE / sum;
    let at = slot * taps + start - first;
    let before = 0;
    let running = 0.5;
    for (let k = 0; k < count; k++) {
      running += (raw[k] as number) * unit;
      const rounded = Math.floor(running);
      weights[at++] = rounded - before;
      before = rounded;
    }
  }
}

/** `tapsOf` and `fillWeights` in new memory, of `outputs` outputs. */
export function axisWeights(name: WeightName, axis: Axis, granule: number, outputs = axis.length): AxisWeights {
  const taps = tapsOf(name, axis, granule);
  const made = { starts: new Int32Array(outputs), weights: new Int16Array(outputs * taps), taps };
  fillWeights(name, axis, taps, made);
  return made;
}

interface Weigher {
  /** Only source pixels whose middle is nearer than this to the output's have a weight. */
  readonly reach: number;
  /** How many those are at most. */
  readonly taps: number;
  /** Weights of `count` pixels, the first one's middle at `x` from the output's; returns their sum. */
  fill(raw: Float64Array, x: number, count: number): number;
}

function weigherOf(name: WeightName, scale: number): Weigher {
  return name === 'area' ? areaWeigher(scale) : kernelWeigher(name, Math.max(1, scale));
}

/** A pixel has the kernel's value at its middle. */
function kernelWeigher(kernel: KernelName, scale: number): Weigher {
  const table = tableOf(kernel);
  const step = DENSITY / scale;
  const last = table.length - 2;
  const reach = KERNELS[kernel].support * scale;
  const fill = (raw: Float64Array, first: number, count: number): number => {
    let sum = 0;
    for (let k = 0; k < count; k++) {
      const x = Math.min(Math.abs(first + k) * step, last);
      const below = x | 0;
      const lower = table[below] as number;
      const value = lower + ((table[below + 1] as number) - lower) * (x - below);
      raw[k] = value;
      sum += value;
    }
    return sum;
  };
  return { reach, taps: Math.ceil(2 * reach), fill };
}

/** A pixel has the length of it that lies in the output's interval. */
function areaWeigher(scale: number): Weigher {
  const half = scale / 2;
  const fill = (raw: Float64Array, first: number, count: number): number => {
    let sum = 0;
    for (let k = 0; k < count; k++) {
      const left = Math.max(first + k - 0.5, -half);
      const right = Math.min(first + k + 0.5, half);
      const value = Math.max(0, right - left);
      raw[k] = value;
      sum += value;
    }
    return sum;
  };
  return { reach: half + 0.5, taps: Number.isInteger(scale) ? scale : Math.ceil(scale) + 1, fill };
}
