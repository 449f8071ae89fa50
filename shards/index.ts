// The door of the room: what the other rooms may use.
export * from './canonical.ts';
export * from './command.ts';
export * from './contact-sheet.ts';
export * from './durable.ts';
export * from './errors.ts';
export { type Crop, type Plane, PlaneDecoder, type PlaneKernel, type Planes } from './jpeg/planes.ts';
export { RGB_VERSION, RgbDecoder, type RgbRows } from './jpeg/rgb.ts';
export * from './jpeg-turbo.ts';
export { type KillPoint, killPoint } from './kill-point.ts';
export * from './load-sharp.ts';
export * from './lock.ts';
export * from './manifest.ts';
export * from './offsets.ts';
export * from './pixels.ts';
export * from './portable-math.ts';
export * from './process-identity.ts';
export * from './random.ts';
export * from './read-at.ts';
export * from './reader.ts';
export * from './resize/kernel.ts';
export { centreSquare, type RgbImage, resizeShortSide } from './resize/pillow.ts';
export {
  type Axis,
  type AxisWeights,
  axisWeights,
  fillWeights,
  type KernelName,
  tapsOf,
  type WeightName,
} from './resize/weights.ts';
export * from './resolution.ts';
export * from './safetensors.ts';
export * from './sample.ts';
export * from './shell.ts';
export type { AddSource, LayoutName, ScanResult, SourceEntry } from './sources/listing.ts';
export * from './tar.ts';
export * from './wasm.ts';
export * from './worker-pool.ts';
export * from './writer.ts';

/** `scanSource`, loaded when it is asked for: it brings zod along, which takes a worker 60 ms. */
export async function loadScanSource(): Promise<typeof import('./sources/source.ts').scanSource> {
  return (await import('./sources/source.ts')).scanSource;
}
