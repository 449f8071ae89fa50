// The WebAssembly memory in which a chunk's images are made: decoded, cropped, resized, flipped and mixed in one place.
//
//   memory := resized images | mixed images | source pixels | weight tables and scratch rows of the resize
//
// It grows to what the largest sample and chunk need and is used again for every other.

import {
  align,
  fillWeights,
  openResizeKernel,
  type ResizeKernel,
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

export class Workspace {
  readonly #kernel: ResizeKernel = openResizeKernel();
  #images = 0;
  #size = 0;
  /** Addresses. */
  #mixedAt = 0;
  #sourceAt = 0;
  #source: SourceSize = { width: 0, height: 0 };

  /** Of the memory, which never shrinks. */
  get memoryBytes(): number {
    return this.#kernel.memory.buffer.byteLength;
  }

  /** What is made next: `images` images of [size, size, 3]. What was made before is overwritten. */
  begin(images: number, size: number): void {
    this.#images = images;
    this.#size = size;
    // Images follow each other without gaps, so the last one's repeated rows and last vector need room behind it.
    const behind = (ROW_GRANULE - 1) * size * 3 + VECTOR_BYTES;
    this.#mixedAt = align(images * this.#stride + behind);
    this.#sourceAt = this.#mixedAt + align(images * this.#stride + VECTOR_BYTES);
  }

  /** Where the next image's pixels are to be decoded to, U8 [height, width, 3]. Not to be used after `resize`. */
  source(size: SourceSize): Buffer {
    this.#source = size;
    const bytes = size.width * size.height * 3;
    reserve(this.#kernel.memory, this.#sourceAt + bytes);
    return Buffer.from(this.#kernel.memory.buffer, this.#sourceAt, bytes);
  }

  /** Resizes a box of the source, antialiased bilinear, to one of the chunk's images. */
  resize({ box, flip, image }: ResizeTask): void {
    const { width, height } = this.#source;
    const size = this.#size;
    const down = { source: box.height, target: size, offset: 0, length: size };
    const across = { source: box.width, target: size, offset: 0, length: size, mirrored: flip };
    const rowTaps = tapsOf('bilinear', down, TAPS_GRANULE);
    const columnTaps = tapsOf('bilinear', across, TAPS_GRANULE);
    const rows = Math.ceil(size / ROW_GRANULE) * ROW_GRANULE;
    const scratchStride = align((box.width + columnTaps) * 3 + VECTOR_BYTES);
    const stride = width * 3;

    // The last rows' padding tap and last vector are read behind the source.
    let end = this.#sourceAt + align((height + TAPS_GRANULE) * stride + VECTOR_BYTES);
    const place = (bytes: number): number => {
      const at = end;
      end += align(bytes);
      return at;
    };
    const rowStarts = place(rows * 4);
    const rowWeights = place(rows * rowTaps * 2);
    const columnStarts = place(size * 4);
    const columnWeights = place(size * columnTaps * 2);
    const scratch = place(scratchStride * ROW_GRANULE);
    reserve(this.#kernel.memory, end);

    const { buffer } = this.#kernel.memory;
    fillWeights('bilinear', down, rowTaps, {
      starts: new Int32Array(buffer, rowStarts, rows),
      weights: new Int16Array(buffer, rowWeights, rows * rowTaps),
    });
    fillWeights('bilinear', across, columnTaps, {
      starts: new Int32Array(buffer, columnStarts, size),
      weights: new Int16Array(buffer, columnWeights, size * columnTaps),
    });
    this.#kernel.resize(
      this.#sourceAt + box.y * stride + box.x * 3,
      stride,
      box.width * 3,
      rowStarts,
      rowWeights,
      rowTaps,
      rows,
      columnStarts,
      columnWeights,
      columnTaps,
      size,
      scratch,
      scratchStride,
      image * this.#stride,
    );
  }

  /** The resized images, U8 [images, size, size, 3]: a view that the next chunk overwrites. */
  resized(): Uint8Array {
    return new Uint8Array(this.#kernel.memory.buffer, 0, this.#images * this.#stride);
  }

  /** λ·image + (1−λ)·partner of the resized images; a view as above. */
  mixed({ shift, lambda }: MixTask): Uint8Array {
    const stride = this.#stride;
    for (let i = 0; i < this.#images; i++) {
      const partner = (i + shift) % this.#images;
      this.#kernel.blend(i * stride, partner * stride, lambda, stride, this.#mixedAt + i * stride);
    }
    return new Uint8Array(this.#kernel.memory.buffer, this.#mixedAt, this.#images * stride);
  }

  /** Bytes of an image. */
  get #stride(): number {
    return this.#size * this.#size * 3;
  }
}
