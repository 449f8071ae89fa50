// The loaders' benchmarks as text for people, and the chart of `ops bench loaders`.

import { LIMIT_GOAL, type LoaderResult, type LoaderRow, PEER_GOAL } from './loaders.ts';
import type { Machine } from './machine.ts';
import { type DecodeResult, type PipelineResult, SCALING_GOAL } from './pipeline.ts';
import { table } from './report.ts';
import { FLAT, type SoakBench } from './soak.ts';
import type { StreamResult, StreamRow } from './stream.ts';

const fixed = (value: number | null, digits = 0): string => value?.toFixed(digits) ?? '';
const named = (met: boolean): string => (met ? 'met' : 'MISSED');

export function machineLine({ cpu, cores, memoryGb, os, node, load }: Machine): string {
  return `${cpu}, ${cores} cores, ${memoryGb} GB, ${os}, Node ${node}; load ${load.toFixed(1)} at the end`;
}

export function loaderReport({ rows, machine, rounds, workers, versions, missing }: LoaderResult): string {
  const names = Object.keys(rows[0]?.peers ?? {});
  const head = ['images/s', 'ours', ...names, 'sharp', 'libjpeg-turbo', '÷ best', 'goal', 'by CPU', '÷ turbo', 'goal'];
  const lines = rows.map((row) => [
    `${row.source} → ${row.output}`,
    fixed(row.ours),
    ...names.map((name) => fixed(row.peers[name] ?? null)),
    fixed(row.sharp),
    fixed(row.limit),
    fixed(row.ratio, 2),
    row.ratio === null ? '' : `≥ ${PEER_GOAL} ${named(row.ratio >= PEER_GOAL)}`,
    fixed(row.cpuRatio, 2),
    fixed(row.ofLimit, 2),
    // The goal is for stored buckets: an original holds more pixels than its crop needs.
    row.ofLimit === null || !row.source.startsWith('short')
      ? ''
      : `≥ ${LIMIT_GOAL} ${named(row.ofLimit >= LIMIT_GOAL)}`,
  ]);
  return [
    machineLine(machine),
    `${rounds} interleaved rounds, ${workers} workers each; medians; MixUp on our side only; libjpeg-turbo: whole images decoded, no more`,
    '',
    table([head, ...lines]),
    '',
    ...Object.entries(versions).flatMap(([name, version]) => (version === null ? [] : [`${name}: ${version}`])),
    ...missing.map((line) => `SKIPPED ${line}`),
  ].join('\n');
}

export function decodeReport({ rows, machine, threads }: DecodeResult): string {
  const head = [
    'ms an image and core',
    'libjpeg-turbo, 1 thread',
    `${threads} threads`,
    'sharp',
    'sharp ÷ it',
    'scaling',
  ];
  const lines = rows.map((row) => [
    row.source,
    fixed(row.turbo1Ms, 3),
    fixed(row.turboMs, 3),
    fixed(row.sharpMs, 3),
    fixed(row.ratio, 2),
    fixed(row.scaling, 2),
  ]);
  return [machineLine(machine), '', table([head, ...lines])].join('\n');
}

export function pipelineReport({ rows, shards, machine, workers }: PipelineResult): string {
  const head = [
    '',
    'images/s',
    'libjpeg-turbo',
    '÷ it',
    'read ms',
    'decode ms',
    'kernel ms',
    'main ms',
    'CPU ms',
    'scaling',
    'its',
    '÷ its',
    'goal',
    'by sharp',
  ];
  const lines = rows.map((row) => [
    `${row.source} → ${row.output}`,
    fixed(row.imagesPerSecond),
    fixed(row.limit),
    fixed(row.ratio, 2),
    ...(['read', 'decode', 'kernel', 'main'] as const).map((stage) => fixed(row.stages[stage], 3)),
    fixed(row.cpuMs, 3),
    fixed(row.scaling, 2),
    fixed(row.limitScaling, 2),
    fixed(row.scalingRatio, 2),
    `≥ ${SCALING_GOAL} ${named(row.scalingRatio >= SCALING_GOAL)}`,
    fixed(row.bySharp),
  ]);
  return [
    machineLine(machine),
    `${workers} workers; ms an image of one worker, and of the first thread; scaling: ${workers} workers over 1, ours and libjpeg-turbo's; by sharp: images/s of our pool with sharp as its decoder`,
    '',
    table([head, ...lines]),
    '',
    `4 shards ${fixed(shards['4'])}, 400 shards ${fixed(shards['400'])} images/s: ratio ${fixed(shards.ratio, 2)}`,
  ].join('\n');
}

/** The whole process, and its first thread, which does all but the images. */
const producerCpu = ({ producer, producerMain }: StreamRow['cpuMsPerMb']): string =>
  `${fixed(producer, 2)} (${fixed(producerMain, 2)})`;

export function streamReport({ rows, machine, workers }: StreamResult): string {
  const head = ['', 'images/s', 'MB/s', 'pipeline', '÷ it', 'with start', 'CPU ms/MB: producer', 'consumer', 'broker'];
  const lines = rows.map((row) => [
    `${row.transport} ${row.output}`,
    ...(row.skipped === null
      ? [
          fixed(row.imagesPerSecond),
          fixed(row.megabytesPerSecond),
          fixed(row.pipeline),
          fixed(row.ratio, 2),
          fixed(row.withStart),
          ...[producerCpu(row.cpuMsPerMb), fixed(row.cpuMsPerMb.consumer, 2), fixed(row.cpuMsPerMb.broker, 2)],
        ]
      : [`SKIPPED: ${row.skipped}`]),
  ]);
  return [
    machineLine(machine),
    `${workers} pool workers, producer and checking consumer on the same cores; pipeline: the same without a log; in brackets the producer's first thread`,
    '',
    table([head, ...lines]),
  ].join('\n');
}

export function soakReport({
  images,
  seconds,
  warmUp,
  earlyMb,
  endMb,
  peakMb,
  growth,
  flat,
  machine,
  workers,
}: SoakBench): string {
  const change = `${growth < 0 ? '−' : '+'}${fixed(Math.abs(100 * growth), 1)} %`;
  return [
    machineLine(machine),
    `${images} images in ${fixed(seconds)} s with ${workers} workers; each tenth has consumers that are slow, stop and die`,
    `resident memory: ${fixed(warmUp.rssMb, 1)} MB while it warmed up, ${fixed(earlyMb, 1)} in the first tenth, ${fixed(endMb, 1)} in the last (${change}, at most ±${100 * FLAT} % ${named(flat)}), peak ${fixed(peakMb, 1)}`,
  ].join('\n');
}

const BAR = { width: 26, gap: 4, height: 200, group: 30, left: 30, top: 50, legend: 130 } as const;
const COLOURS = ['#2563eb', '#9ca3af', '#6b7280', '#4b5563', '#a3a3a3', '#d97706', '#16a34a'];

/** Bars of images/s by case and contender, as SVG; each case is as high as its fastest, since cases are not compared. */
export function loaderChart({ rows, machine, workers }: LoaderResult): string {
  const bars = (row: LoaderRow): (readonly [string, number | null])[] => [
    ['ours', row.ours],
    ...Object.entries(row.peers),
    ['sharp', row.sharp],
    ['libjpeg-turbo: decode only', row.limit],
  ];
  const names = bars(rows[0] as LoaderRow).map(([name]) => name);
  const groupWidth = names.length * (BAR.width + BAR.gap) + BAR.group;
  const floor = BAR.top + BAR.height;
  const parts: string[] = [];
  const text = (x: number, y: number, size: number, words: string): number =>
    parts.push(
      `<text x="${x}" y="${y}" font-size="${size}">${words.replaceAll('&', '&amp;').replaceAll('<', '&lt;')}</text>`,
    );
  text(BAR.left, 20, 13, `images/s with ${workers} workers on ${machine.cores} cores, ${machine.cpu}`);
  for (const [group, row] of rows.entries()) {
    const left = BAR.left + group * groupWidth;
    const highest = Math.max(...bars(row).map(([, rate]) => rate ?? 0));
    for (const [i, [name, rate]] of bars(row).entries()) {
      const height = ((rate ?? 0) / highest) * BAR.height;
      const x = left + i * (BAR.width + BAR.gap);
      const shape = `x="${x}" y="${(floor - height).toFixed(1)}" width="${BAR.width}" height="${height.toFixed(1)}"`;
      parts.push(`<rect ${shape} fill="${COLOURS[i % COLOURS.length]}"><title>${name}: ${fixed(rate)}</title></rect>`);
      text(x, Math.round(floor - height) - 4, 10, fixed(rate));
    }
    text(left, floor + 18, 12, `${row.source} → ${row.output}`);
    if (row.ratio !== null) text(left, floor + 34, 11, `${fixed(row.ratio, 2)} × ${row.best}`);
  }
  for (const [i, name] of names.entries()) {
    const x = BAR.left + i * BAR.legend;
    parts.push(`<rect x="${x}" y="${floor + 52}" width="10" height="10" fill="${COLOURS[i % COLOURS.length]}"/>`);
    text(x + 14, floor + 61, 11, name);
  }
  const width = BAR.left + Math.max(rows.length * groupWidth, (names.length + 0.5) * BAR.legend);
  const size = `width="${width}" height="${floor + 75}"`;
  const paper = `<title>Loaders compared, images/s</title>\n<rect ${size} fill="white"/>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} font-family="sans-serif">\n${[paper, ...parts].join('\n')}\n</svg>\n`;
}
