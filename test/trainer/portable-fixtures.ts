// What PyTorch, torchvision and Pillow computed, written by test/portable/make_fixtures.py.

import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { decodeTensors, type RawTensor, type TensorFile } from '#shards';

export const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../test/fixtures/portable/${name}`, import.meta.url));

export async function tensorFixture(name: string): Promise<TensorFile> {
  return decodeTensors(await readFile(fixture(name)), name);
}

export function tensorOf({ tensors }: TensorFile, name: string): RawTensor {
  const tensor = tensors.get(name);
  if (!tensor) throw new Error(`the fixture holds no '${name}'`);
  return tensor;
}

/** The photos that the logits are of: U8 [n, 48, 48, 3], and where they are from. */
export async function crops(): Promise<{ images: Uint8Array; n: number; resolution: number; paths: string[] }> {
  const file = await tensorFixture('crops.safetensors');
  const { data, shape } = tensorOf(file, 'images');
  const [n = 0, resolution = 0] = shape;
  return { images: data, n, resolution, paths: (file.metadata['paths'] ?? '').split(',') };
}
