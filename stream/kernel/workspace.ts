// The WebAssembly memory in which a chunk's images are made: decoded, cropped, resized, flipped and mixed in one place.
//
//   memory := the kernel's own | resized images | a mixed image | source: planes or pixels | weight tables and scratch rows
//
// It grows to what the largest sample and chunk need and is used again for every other.

import {
  type Axis,
  align,
  fillWeights,
  openPixelKernel,
  type PixelKernel,
  PLANE_ROW_GRANULE,
  PLANE_TASK_BYTES,
  type Plane,
  PlaneDecoder,
  type Planes,
  ROW_GRANULE,
  reserve,
  TAPS_GRANULE,
  tapsOf,
  VECTOR_BYTES,
} from '#shards';
import type { CropBox } from '../augment/random-resized-crop.ts';

export interface SourceSize {
  readonly width: number;
  readonly height: number;
}

export interface ResizeTask {
  /** Within the source. */
  readonly box: CropBox;
  /** Left and right change places. */
  readonly flip: boolean;
  /** Which of the chunk's images it becomes. */
  readonly image: number;
}

export interface MixTask {
  /** Image i mixes with (i + shift) mod images. */
  readonly shift: number;
  /** Of the image itself, in units of 1/16384. */
  readonly lambda: number;
}

/** Weights of one axis in the memory. */
interface Table {
  readonly starts: number;
  readonly weights: number;
  readonly taps: number;
}

export class Workspace {
  readonly #kernel: PixelKernel = openPixelKernel();
  readonly #decoder = new PlaneDecoder(this.#kernel);
  readonly #imagesAt = this.#decoder.heap;
  #images = 0;
  #size = 0;
  /** Addresses. */
  #mixedAt = 0;
  #sourceAt = 0;
  #source: { readonly planes: Planes } | { readonly pixels: SourceSize } = { pixels: { width: 0, height: 0 } };
  /** Where tables and scratch go on. */
  #end = 0;

  /** Of the memory, which never shrinks. */
  get memoryBytes(): number {
    return this.#kernel.memory.buffer.byteLength;
  }

  /** What is made next: `images` images of [size, size, 3]. What was made before is overwritten. */
  begin(images: number, size: number): void {
    this.#images = images;
    this.#size = size;
    // Images follow each other without gaps, so the last one's repeated rows and last vector need room behind it.
    const behind = (PLANE_ROW_GRANULE - 1) * size * 3 + VECTOR_BYTES;
    this.#mixedAt = this.#imagesAt + align(images * this.#stride + behind);
    this.#sourceAt = this.#mixedAt + align(this.#stride + VECTOR_BYTES);
    reserve(this.#kernel.memory, this.#sourceAt);
  }

  /**
   * Decodes what a box of a baseline JPEG of this size is made of. False where our decoder does not take the file: then
   * `source` is to be filled by another.
   */
  decode(jpeg: Uint8Array, { width, height }: SourceSize, box: CropBox): boolean {
    const planes = this.#decoder.decode(jpeg, box, this.#sourceAt);
    if (typeof planes === 'string' || planes.width !== width || planes.height !== height) return false;
    this.#source = { planes };
    return true;
  }

  /** Where the next image's pixels are to be decoded to, U8 [height, width, 3]. Not to be used after `resize`. */
  source(size: SourceSize): Buffer {
    this.#source = { pixels: size };
    const bytes = size.width * size.height * 3;
    reserve(this.#kernel.memory, this.#sourceAt + bytes);
    return Buffer.from(this.#kernel.memory.buffer, this.#sourceAt, bytes);
  }

  /** Resizes a box of the source, antialiased bilinear, to one of the chunk's images. */
  resize(task: ResizeTask): void {
    if ('planes' in this.#source) this.#resizePlanes(this.#source.planes, task);
    else this.#resizePixels(this.#source.pixels, task);
  }

  #resizePixels({ width, height }: SourceSize, { box, flip, image }: ResizeTask): void {
    const size = this.#size;
    const stride = width * 3;
    // The last rows' padding tap and last vector are read behind the source.
    this.#end = this.#sourceAt + align((height + TAPS_GRANULE) * stride + VECTOR_BYTES);
    const rowCount = Math.ceil(size / ROW_GRANULE) * ROW_GRANULE;
    const rows = this.#table({ source: box.height, target: size, offset: 0, length: size }, rowCount);
    const columns = this.#table({ source: box.width, target: size, offset: 0, length: size, mirrored: flip }, size);
    const scratchStride = align((box.width + columns.taps) * 3 + VECTOR_BYTES);
    const scratch = this.#place(scratchStride * ROW_GRANULE);
    this.#kernel.resize(
      this.#sourceAt + box.y * stride + box.x * 3,
      stride,
      box.width * 3,
      rows.starts,
      rows.weights,
      rows.taps,
      rowCount,
      columns.starts,
      columns.weights,
      columns.taps,
      size,
      scratch,
      scratchStride,
      this.#imageAt(image),
    );
  }

  #resizePlanes({ planes, end }: Planes, { box, flip, image }: ResizeTask): void {
    const [luma, cb, cr] = planes as readonly [Plane, Plane?, Plane?];
    const size = this.#size;
    this.#end = end;
    const rows = Math.ceil(size / PLANE_ROW_GRANULE) * PLANE_ROW_GRANULE;
    const rowsOf = (plane: Plane) =>
      this.#axis({ first: plane.top, samples: plane.height, halved: plane.pixelsDown === 2, mirrored: false }, rows, {
        from: box.y,
        length: box.height,
      });
    const columnsOf = (plane: Plane) =>
      this.#axis({ first: plane.left, samples: plane.width, halved: plane.pixelsAcross === 2, mirrored: flip }, size, {
        from: box.x,
        length: box.width,
      });
    const lumaRows = rowsOf(luma);
    const lumaColumns = columnsOf(luma);
    const lumaTask = this.#planeTask(luma, lumaRows, lumaColumns);
    let cbTask = 0;
    let crTask = 0;
    if (cb && cr) {
      const chromaRows = cb.pixelsDown === 1 ? lumaRows : rowsOf(cb);
      const chromaColumns = cb.pixelsAcross === 1 ? lumaColumns : columnsOf(cb);
      cbTask = this.#planeTask(cb, chromaRows, chromaColumns);
      crTask = this.#planeTask(cr, chromaRows, chromaColumns);
    }
    const scratch = this.#place(this.#kernel.planeScratchBytes(lumaTask, cbTask, size));
    this.#kernel.resizePlanes(lumaTask, cbTask, crTask, rows, size, scratch, this.#imageAt(image));
  }

  /** Room for the next table or scratch. */
  #place(bytes: number): number {
    const at = this.#end;
    this.#end += align(bytes);
    reserve(this.#kernel.memory, this.#end);
    return at;
  }

  #table(axis: Axis, outputs: number): Table {
    const taps = tapsOf('bilinear', axis, TAPS_GRANULE);
    const starts = this.#place(outputs * 4);
    const weights = this.#place(outputs * taps * 2);
    const { buffer } = this.#kernel.memory;
    fillWeights('bilinear', axis, taps, {
      starts: new Int32Array(buffer, starts, outputs),
      weights: new Int16Array(buffer, weights, outputs * taps),
    });
    return { starts, weights, taps };
  }

  /** The same of a plane: pixels `from` … `from + length` of the image, by what the plane has of them. */
  #axis(
    { first, samples, halved, mirrored }: { first: number; samples: number; halved: boolean; mirrored: boolean },
    outputs: number,
    { from, length }: { from: number; length: number },
  ): Table {
    const target = this.#size;
    const taps = this.#kernel.tapsOf(length, target, halved);
    const starts = this.#place(outputs * 4);
    const weights = this.#place(outputs * taps * 2);
    const raw = this.#place(taps * 8);
    this.#kernel.fillAxis(starts, weights, taps, outputs, target, from, length, first, samples, halved, mirrored, raw);
    return { starts, weights, taps };
  }

  #planeTask({ address, stride, width }: Plane, rows: Table, columns: Table): number {
    // A plane with fewer rows than taps is read beyond its end, times 0.
    this.#place(rows.taps * stride);
    const task = this.#place(PLANE_TASK_BYTES);
    new Int32Array(this.#kernel.memory.buffer, task, PLANE_TASK_BYTES / 4).set([
      address,
      stride,
      width,
      rows.starts,
      rows.weights,
      rows.taps,
      columns.starts,
      columns.weights,
      columns.taps,
    ]);
    return task;
  }

  /** An image becomes the same as another. */
  copy(from: number, to: number): void {
    const at = this.#imageAt(from);
    new Uint8Array(this.#kernel.memory.buffer).copyWithin(this.#imageAt(to), at, at + this.#stride);
  }

  /** λ·image + (1−λ)·partner of all images to `out`, U8 [images, size, size, 3]; a shift of 0 leaves them as they are. */
  mix({ shift, lambda }: MixTask, out: Uint8Array): void {
    const stride = this.#stride;
    const { buffer } = this.#kernel.memory;
    if (shift === 0) {
      out.set(new Uint8Array(buffer, this.#imagesAt, this.#images * stride));
      return;
    }
    const mixed = new Uint8Array(buffer, this.#mixedAt, stride);
    for (let i = 0; i < this.#images; i++) {
      const partner = this.#imageAt((i + shift) % this.#images);
      this.#kernel.blend(this.#imageAt(i), partner, lambda, stride, this.#mixedAt);
      out.set(mixed, i * stride);
    }
  }

  /** Bytes of an image. */
  get #stride(): number {
    return this.#size * this.#size * 3;
  }

  #imageAt(image: number): number {
    return this.#imagesAt + image * this.#stride;
  }
}
