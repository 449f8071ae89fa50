// Weights of other floating-point formats as float32: what safetensors files of others hold.

import type { RawTensor } from '#shards';

export const FLOATS = ['F32', 'F64', 'F16', 'BF16'] as const;
export type FloatName = (typeof FLOATS)[number];

export function isFloat(dtype: string): dtype is FloatName {
  return (FLOATS as readonly string[]).includes(dtype);
}

/** The values rounded to float32, in memory of their own; F16 and BF16 are held exactly. */
export function asFloat32({ dtype, data }: RawTensor & { readonly dtype: FloatName }): Float32Array<ArrayBuffer> {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const width = { F32: 4, F64: 8, F16: 2, BF16: 2 }[dtype];
  const at = {
    F32: (byte: number) => view.getFloat32(byte, true),
    F64: (byte: number) => view.getFloat64(byte, true),
    F16: (byte: number) => half(view.getUint16(byte, true)),
    BF16: (byte: number) => bfloat(view.getUint16(byte, true)),
  }[dtype];
  return Float32Array.from({ length: data.byteLength / width }, (_, i) => at(i * width));
}

/** IEEE 754 binary16: a sign, 5 bits of exponent, 10 of fraction. */
function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const word = new DataView(new ArrayBuffer(4));

/** The upper half of a float32. */
function bfloat(bits: number): number {
  word.setUint32(0, bits << 16);
  return word.getFloat32(0);
}
