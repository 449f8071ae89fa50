// The door of the room: what the other rooms may use.
export type { ImageRequest, ImageResult, PixelSettings, StoredImage } from './image.ts';
export { type MergeOptions, merge } from './merge.ts';
export { PACK_DEFAULTS, type PackOptions, pack, packPart } from './pack.ts';
export { REJECT_CODES, REJECTS_FILE, type Reject, type RejectCode } from './rejects.ts';

/** `storeImage`, loaded when it is asked for: it brings sharp and libjpeg-turbo along. */
export async function loadStoreImage(): Promise<typeof import('./image.ts').storeImage> {
  return (await import('./image.ts')).storeImage;
}
