// The loaders' benchmarks as text for people, and the chart of `ops bench loaders`.

import { LIMIT_GOAL, type LoaderResult, type LoaderRow, PEER_GOAL } from './loaders.ts';
import type { Machine } from './machine.ts';
import type { DecodeResult, PipelineResult } from './pipeline.ts';
import { table } from './report.ts';
import type { StreamResult, StreamRow } from './stream.ts';

const fixed = (value: number | null, digits = 0): string => value?.toFixed(digits) ?? '';
const named = (met: boolean): string => (met ? 'met' : 'MISSED');

function machineLine({ cpu, cores, node, load }: Machine): string {
  return `${cpu}, ${cores} cores, Node ${node}; load ${load.toFixed(1)} at the end`;
}

export function loaderReport({ rows, machine, rounds, workers, missing }: LoaderResult): string {
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
    'CPU ms',
    'scaling',
    'its',
    'sharp',
  ];
  const lines = rows.map((row) => [
    `${row.source} → ${row.output}`,
    fixed(row.imagesPerSecond),
    fixed(row.limit),
    fixed(row.ratio, 2),
    ...['read', 'decode', 'kernel'].map((stage) => fixed(row.stages[stage] ?? null, 3)),
    fixed(row.cpuMs, 3),
    fixed(row.scaling, 2),
    fixed(row.limitScaling, 2),
    fixed(row.sharp),
  ]);
  return [
    machineLine(machine),
    `${workers} workers; ms an image of one worker; scaling: ${workers} workers over 1, ours and libjpeg-turbo's; sharp: without MixUp`,
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

const BAR = { width: 18, gap: 4, height: 220, group: 40, left: 60, top: 30 } as const;
const COLOURS = ['#2563eb', '#9ca3af', '#6b7280', '#4b5563', '#a3a3a3', '#d97706', '#16a34a'];

/** Bars of images/s by case and contender, as SVG. */
export function loaderChart({ rows, machine }: LoaderResult): string {
  const bars = (row: LoaderRow): (readonly [string, number | null])[] => [
    ['ours', row.ours],
    ...Object.entries(row.peers),
    ['sharp', row.sharp],
    ['libjpeg-turbo decode alone', row.limit],
  ];
  const names = bars(rows[0] as LoaderRow).map(([name]) => name);
  const highest = Math.max(...rows.flatMap((row) => bars(row).map(([, rate]) => rate ?? 0)));
  const groupWidth = names.length * (BAR.width + BAR.gap) + BAR.group;
  const width = BAR.left + rows.length * groupWidth;
  const floor = BAR.top + BAR.height;
  const parts: string[] = [];
  const text = (x: number, y: number, size: number, words: string): number =>
    parts.push(
      `<text x="${x}" y="${y}" font-size="${size}">${words.replaceAll('&', '&amp;').replaceAll('<', '&lt;')}</text>`,
    );
  text(BAR.left, 18, 13, `images/s on ${machine.cores} cores, ${machine.cpu}`);
  for (const [group, row] of rows.entries()) {
    const left = BAR.left + group * groupWidth;
    for (const [i, [name, rate]] of bars(row).entries()) {
      const height = ((rate ?? 0) / highest) * (BAR.height - 14);
      const x = left + i * (BAR.width + BAR.gap);
      const shape = `x="${x}" y="${(floor - height).toFixed(1)}" width="${BAR.width}" height="${height.toFixed(1)}"`;
      parts.push(`<rect ${shape} fill="${COLOURS[i % COLOURS.length]}"><title>${name}: ${fixed(rate)}</title></rect>`);
      text(x, Math.round(floor - height) - 3, 7, fixed(rate));
    }
    text(left, floor + 16, 11, `${row.source} → ${row.output}`);
  }
  for (const [i, name] of names.entries()) {
    const x = BAR.left + i * 150;
    parts.push(`<rect x="${x}" y="${floor + 30}" width="10" height="10" fill="${COLOURS[i % COLOURS.length]}"/>`);
    text(x + 14, floor + 39, 10, name);
  }
  const size = `width="${Math.max(width, BAR.left + names.length * 150)}" height="${floor + 55}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} font-family="sans-serif">\n${parts.join('\n')}\n</svg>\n`;
}
