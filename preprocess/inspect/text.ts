// An inspection as lines of text.

import { SPLITS, type Split } from '#shards';
import type { BucketRow, Inspection } from './inspect.ts';

export function describeInspection(inspection: Inspection): string[] {
  const { datasetSha256, seed, shardSamples, fingerprint, buckets, classes, rejects } = inspection;
  const list = (record: Readonly<Record<string, unknown>>): string =>
    Object.entries(record)
      .map(([name, value]) => `${name} ${value}`)
      .join(', ');
  return [
    `dataset  ${datasetSha256}`,
    `order    seed ${seed}, ${shardSamples} source positions a shard`,
    `pixels   ${list(fingerprint.resize)}`,
    `made by  ${list({ ...fingerprint.versions, arch: fingerprint.arch })}`,
    `rejects  ${rejects.count}${rejects.count > 0 ? ` (${list(rejects.byCode)})` : ''}`,
    '',
    ...bucketTable(buckets),
    ...SPLITS.flatMap((split) => ['', ...classLines(split, inspection.samplesOfClass[split], classes)]),
  ];
}

const COLUMNS: readonly (readonly [head: string, value: (row: BucketRow) => string | number])[] = [
  ['split', ({ split }) => split],
  ['bucket', ({ resolution }) => resolution],
  ['short side', ({ shortSide }) => shortSide],
  ['shards', ({ shards }) => shards],
  ['samples', ({ samples }) => samples],
  ['bytes', ({ bytes }) => size(bytes)],
  ['bytes/sample', ({ bytes, samples }) => Math.round(bytes / Math.max(samples, 1))],
  ['smallest shard', ({ smallestShard }) => size(smallestShard)],
  ['largest shard', ({ largestShard }) => size(largestShard)],
  ['not enlarged', ({ notEnlarged }) => notEnlarged],
  ['via turbo', ({ viaTurbo }) => viaTurbo],
  ['via sharp', ({ viaSharp }) => viaSharp],
];

function bucketTable(rows: readonly BucketRow[]): string[] {
  const columns = COLUMNS.map(([head, value]) => {
    const cells = [head, ...rows.map((row) => String(value(row)))];
    const width = Math.max(...cells.map(({ length }) => length));
    return cells.map((cell) => (head === 'split' ? cell.padEnd(width) : cell.padStart(width)));
  });
  return ['', ...rows].map((_, line) => columns.map((cells) => cells[line]).join('  '));
}

interface ClassCount {
  readonly name: string;
  readonly samples: number;
}

/** Classes told by name at each end. */
const NAMED = 3;

function classLines(split: Split, counts: readonly number[], classes: Inspection['classes']): string[] {
  const sorted = classes
    .map(({ index, wnid, name }): ClassCount => {
      return { name: name === undefined ? wnid : `${wnid} ${name}`, samples: counts[index] ?? 0 };
    })
    .sort((a, b) => a.samples - b.samples);
  const total = counts.reduce((sum, count) => sum + count, 0);
  const at = (place: number): number => sorted[place]?.samples ?? 0;
  const [least, median, most] = [at(0), at(Math.floor((sorted.length - 1) / 2)), at(sorted.length - 1)];
  const named = (some: readonly ClassCount[]): string =>
    some.map(({ name, samples }) => `${name} (${samples})`).join(', ');
  const head = `${split}: ${total} samples in ${sorted.length} classes; a class has ${least} to ${most}, median ${median}`;
  if (least === most) return [head];
  return [
    head,
    ...histogram(sorted.map(({ samples }) => samples)),
    `  fewest: ${named(sorted.slice(0, NAMED))}`,
    `  most:   ${named(sorted.slice(-NAMED).reverse())}`,
  ];
}

const MOST_BINS = 10;
const BAR = 40;

/** How many classes have so many samples; `ascending` counts, not all alike. */
function histogram(ascending: readonly number[]): string[] {
  const least = ascending[0] ?? 0;
  const most = ascending.at(-1) ?? 0;
  const step = Math.ceil((most - least + 1) / MOST_BINS);
  const bins = new Array<number>(Math.ceil((most - least + 1) / step)).fill(0);
  for (const samples of ascending) (bins[Math.floor((samples - least) / step)] as number)++;
  const longest = Math.max(...bins);
  const digits = String(most).length;
  return bins.map((classes, i) => {
    const from = String(least + i * step).padStart(digits);
    const to = String(Math.min(least + (i + 1) * step - 1, most)).padStart(digits);
    const bar = '#'.repeat(Math.ceil((classes / longest) * BAR)).padEnd(BAR);
    return `  ${step === 1 ? from : `${from} – ${to}`}  ${bar}  ${classes} ${classes === 1 ? 'class' : 'classes'}`;
  });
}

function size(bytes: number): string {
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(2)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}
