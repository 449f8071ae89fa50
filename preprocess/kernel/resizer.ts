// The WebAssembly resize: lays out its memory, and feeds it an image whole or, where that is too large, strip by strip.

import {
  type AxisWeights,
  align,
  axisWeights,
  openResizeKernel,
  type ResizeKernel,
  type RgbRows,
  ROW_GRANULE,
  reserve,
  TAPS_GRANULE,
  VECTOR_BYTES,
  type WeightName,
} from '#shards';

/** U8 [height, width, 3]. */
export interface Pixels {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/** A decoded image as the resizer takes it. */
export function rowsOf({ data, width, height }: Pixels): RgbRows {
  const stride = width * 3;
  return { width, height, copy: (first, end, into) => into.set(data.subarray(first * stride, end * stride)) };
}

export interface Rectangle {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** The size after the resize, and the part of it that is wanted; nothing else is computed. */
export interface Target {
  readonly width: number;
  readonly height: number;
  readonly crop: Rectangle;
}

/** What is copied in at once; a larger image is resized strip by strip. About 11 megapixels. */
export const STRIP_BYTES = 32 * 1024 * 1024;

/** Where a target's tables, scratch rows and output lie; the source follows behind the largest such layout. */
interface Layout {
  readonly target: Target;
  readonly rows: AxisWeights;
  readonly columns: AxisWeights;
  /** Multiple of ROW_GRANULE. */
  readonly outputRows: number;
  /** The source columns that the target needs: the first one, and how many. */
  readonly left: number;
  readonly width: number;
  readonly scratchStride: number;
  readonly at: {
    readonly rowStarts: number;
    readonly rowWeights: number;
    readonly columnStarts: number;
    readonly columnWeights: number;
    readonly scratch: number;
    readonly out: number;
    readonly end: number;
  };
}

export class Resizer {
  readonly #exports: ResizeKernel;
  readonly #stripBytes: number;

  constructor(stripBytes = STRIP_BYTES) {
    this.#exports = openResizeKernel();
    this.#stripBytes = stripBytes;
  }

  /** Of the WebAssembly memory, which never shrinks. */
  get memoryBytes(): number {
    return this.#exports.memory.buffer.byteLength;
  }

  /**
   * Resizes one image to several targets, none larger than it. `take` gets each one's crop, U8 [height, width, 3]
   * without gaps: a view that the next call overwrites.
   */
  resize(source: RgbRows, targets: readonly Target[], weights: WeightName, take: (pixels: Pixels) => void): void {
    const layouts = targets.map((target) => layout(source, target, weights));
    const sourceAt = Math.max(...layouts.map(({ at }) => at.end));
    const stride = source.width * 3;
    const whole = stride * source.height <= this.#stripBytes;
    this.#reserve(sourceAt, (whole ? source.height : 0) + TAPS_GRANULE, stride);
    if (whole) source.copy(0, source.height, this.#bytes(sourceAt, stride * source.height));
    for (const plan of layouts) {
      this.#placeTables(plan);
      if (whole) this.#run(plan, { first: 0, rows: plan.outputRows, src: sourceAt, stride });
      else this.#runStrips(plan, source, sourceAt);
      const { width, height } = plan.target.crop;
      take({ data: this.#bytes(plan.at.out, width * height * 3), width, height });
    }
  }

  #runStrips(plan: Layout, source: RgbRows, sourceAt: number): void {
    const stride = source.width * 3;
    const { starts, taps } = plan.rows;
    const rowsAtOnce = Math.floor(this.#stripBytes / stride);
    for (let first = 0; first < plan.outputRows; ) {
      const top = starts[first] as number;
      const bottom = (row: number): number => Math.min(source.height, (starts[row] as number) + taps);
      let rows = ROW_GRANULE;
      while (first + rows < plan.outputRows && bottom(first + rows + ROW_GRANULE - 1) - top <= rowsAtOnce)
        rows += ROW_GRANULE;
      const height = bottom(first + rows - 1) - top;
      this.#reserve(sourceAt, height + TAPS_GRANULE, stride);
      source.copy(top, top + height, this.#bytes(sourceAt, height * stride));
      this.#run(plan, { first, rows, src: sourceAt - top * stride, stride });
      first += rows;
    }
  }

  #run(plan: Layout, strip: { first: number; rows: number; src: number; stride: number }): void {
    const { at, rows, columns, target } = plan;
    const { first } = strip;
    this.#exports.resize(
      strip.src + plan.left * 3,
      strip.stride,
      plan.width * 3,
      at.rowStarts + first * 4,
      at.rowWeights + first * rows.taps * 2,
      rows.taps,
      strip.rows,
      at.columnStarts,
      at.columnWeights,
      columns.taps,
      target.crop.width,
      at.scratch,
      plan.scratchStride,
      at.out + first * target.crop.width * 3,
    );
  }

  #placeTables({ at, rows, columns }: Layout): void {
    const { buffer } = this.#exports.memory;
    new Int32Array(buffer, at.rowStarts, rows.starts.length).set(rows.starts);
    new Int16Array(buffer, at.rowWeights, rows.weights.length).set(rows.weights);
    new Int32Array(buffer, at.columnStarts, columns.starts.length).set(columns.starts);
    new Int16Array(buffer, at.columnWeights, columns.weights.length).set(columns.weights);
  }

  /** Grows the memory so that `rows` of `stride` bytes lie behind `from`. */
  #reserve(from: number, rows: number, stride: number): void {
    reserve(this.#exports.memory, from + rows * stride + VECTOR_BYTES);
  }

  #bytes(at: number, length: number): Uint8Array {
    return new Uint8Array(this.#exports.memory.buffer, at, length);
  }
}

function layout(source: RgbRows, target: Target, weights: WeightName): Layout {
  const { crop } = target;
  // Repeats of the last row, up to a multiple of ROW_GRANULE, lie behind the output and are not looked at.
  const rows = axisWeights(
    weights,
    { source: source.height, target: target.height, offset: crop.top, length: crop.height },
    TAPS_GRANULE,
    Math.ceil(crop.height / ROW_GRANULE) * ROW_GRANULE,
  );
  const absolute = axisWeights(
    weights,
    { source: source.width, target: target.width, offset: crop.left, length: crop.width },
    TAPS_GRANULE,
  );
  const left = absolute.starts[0] as number;
  const right = Math.min(source.width, (absolute.starts[crop.width - 1] as number) + absolute.taps);
  const columns = { ...absolute, starts: absolute.starts.map((start) => start - left) };
  const width = right - left;
  // The last pixel's padding taps and the 16 bytes of its load reach past the row.
  const scratchStride = align((width + absolute.taps) * 3 + VECTOR_BYTES);
  let end = 0;
  const place = (bytes: number): number => {
    const at = end;
    end += align(bytes);
    return at;
  };
  const at = {
    rowStarts: place(rows.starts.byteLength),
    rowWeights: place(rows.weights.byteLength),
    columnStarts: place(columns.starts.byteLength),
    columnWeights: place(columns.weights.byteLength),
    scratch: place(scratchStride * ROW_GRANULE),
    out: place(rows.starts.length * crop.width * 3),
    end: 0,
  };
  return { target, rows, columns, outputRows: rows.starts.length, left, width, scratchStride, at: { ...at, end } };
}
