// A sample: one image with its class, and how it is named inside a shard.

export const SPLITS = ['train', 'val'] as const;
export type Split = (typeof SPLITS)[number];

/** What `KEY.json` says of a sample. */
export interface SampleInfo {
  readonly key: string;
  /** Index of the class, 0 … classes−1, in the order of the manifest. */
  readonly label: number;
  /** Name of the class's folder; for ImageNet the WordNet id. */
  readonly wnid: string;
  /** Of the stored JPEG, pixels. */
  readonly width: number;
  readonly height: number;
  /** Path of the source file, from the source folder, with '/'. */
  readonly source: string;
  /** Place of the source in the permuted order of its split; rejected sources keep theirs, so positions may have gaps. */
  readonly position: number;
}

/** A sample ready to be written. */
export interface PackedSample extends SampleInfo {
  readonly jpg: Uint8Array;
}

/**
 * The key: 8 digits of the source position, '-', the file's stem with everything outside [A-Za-z0-9_-] replaced by '_',
 * cut to 64 characters. The position makes it unique. It has no dot, because a WebDataset key ends at the first one,
 * and with its suffix it fits a USTAR name of 100 bytes.
 */
export function sampleKey(position: number, source: string): string {
  const name = source.slice(source.lastIndexOf('/') + 1);
  const dot = name.lastIndexOf('.');
  const stem = dot > 0 ? name.slice(0, dot) : name;
  return `${String(position).padStart(8, '0')}-${stem.replaceAll(/[^A-Za-z0-9_-]/g, '_').slice(0, 64)}`;
}

/** A shard's name without its suffix: `train-000012`. */
export function shardStem(split: Split, ordinal: number): string {
  return `${split}-${String(ordinal).padStart(6, '0')}`;
}
