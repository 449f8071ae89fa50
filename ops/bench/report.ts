// The results of the benchmarks as text for people.

import type { BenchResult, Row } from './preprocess.ts';
import type { QualityResult } from './quality.ts';

/** Lines of cells with every column as wide as its widest cell; the first column left-bound, the others right-bound. */
export function table(lines: readonly (readonly string[])[]): string {
  const widths = (lines[0] ?? []).map((_, i) => Math.max(...lines.map((line) => line[i]?.length ?? 0)));
  const cell = (text: string, i: number): string =>
    i === 0 ? text.padEnd(widths[i] ?? 0) : text.padStart(widths[i] ?? 0);
  return lines.map((line) => line.map(cell).join('  ').trimEnd()).join('\n');
}

const seconds = (list: readonly number[]): string => list.map((value) => value.toFixed(2)).join(' ');

const HEAD = ['', 'images/s', 'ours ÷ it', 'goal', 'CPU ms', 'by CPU', 's a round', 'Mpixels', 'MB stored'];

function cells(row: Row): string[] {
  if (row.imagesPerSecond === null || row.ratio === null || row.work === null) return [row.name, 'SKIPPED'];
  const goal = row.goal === null ? '' : `≥ ${row.goal} ${row.ratio >= row.goal ? 'met' : 'MISSED'}`;
  const { pixels, bytes } = row.work;
  const stored = [(pixels / 1e6).toFixed(1), (bytes / 1e6).toFixed(1)];
  const cpu = [row.cpuMs, row.cpuRatio].map((value) => value?.toFixed(2) ?? '');
  const rate = [row.imagesPerSecond.toFixed(0), row.ratio.toFixed(2), goal];
  return [row.name, ...rate, ...cpu, seconds(row.seconds), ...stored];
}

export function report(result: BenchResult): string {
  const { machine, photos, rows, rounds, workers } = result;
  const size = `${Math.round(photos.meanWidth)} × ${Math.round(photos.meanHeight)}`;
  const skipped = rows.filter((row) => row.skipped !== null).map((row) => `SKIPPED ${row.name}: ${row.skipped}`);
  return [
    `${machine.cpu}, ${machine.cores} cores, Node ${machine.node}`,
    `${photos.images} JPEGs made after ImageNet's statistics (mean ${size}, ${Math.round(photos.bytes / photos.images / 1000)} KB), in the page cache`,
    `${rounds} interleaved rounds, ${workers} workers each; medians; seconds without the loading of programs`,
    '',
    table([HEAD, ...rows.map(cells)]),
    'ours ÷ it: our packer with the same resize filter, but for FFCV, which has its own, beside our default',
    ...skipped,
    '',
    ...extrapolation(result),
  ].join('\n');
}

function extrapolation({ imagenet, share }: BenchResult): string[] {
  const known =
    share === null
      ? ['how busy the cores are, and what the main thread needs, is unknown without /proc']
      : [
          `ours kept ${share.busyCores.toFixed(2)} cores busy; its main thread needs ${share.serialMs.toFixed(3)} ms an image${share.serialMs < 0.001 ? '' : `, which bounds one process at ${Math.round(1000 / share.serialMs)} images/s`}`,
        ];
  return [
    ...known,
    'EXTRAPOLATION, not measured: ImageNet-1k (1,281,167 + 50,000 photos), disks as fast as needed',
    ...imagenet.map(({ cores, imagesPerSecond, hours, bound }) => {
      const time = hours < 1 ? `${(60 * hours).toFixed(0)} min` : `${hours.toFixed(1)} h`;
      const why = bound === 'cores' ? '' : ' (bound by the main thread: --part I/N runs several)';
      return `  ${String(cores).padStart(2)} cores: ${imagesPerSecond.toFixed(0)} images/s, ${time}${why}`;
    }),
  ];
}

export function qualityReport({ rows }: QualityResult): string {
  const head = ['study', 'short side', 'kernel', 'quality', 'chroma', 'photos', 'PSNR', 'of RGB', 'SSIM', 'bytes'];
  const lines = rows.map((row) => [
    row.way === '' ? row.study : `${row.study}: ${row.way}`,
    ...[row.shortSide, row.kernel, row.quality, row.chroma, row.images].map(String),
    ...[row.psnr.toFixed(2), row.psnrRgb.toFixed(2), row.ssim.toFixed(5), row.bytes.toFixed(0)],
  ]);
  return table([head, ...lines]);
}
