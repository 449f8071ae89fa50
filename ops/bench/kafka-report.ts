// The result of `ops bench kafka` as text for people.

import type { KafkaResult, KafkaRow } from './kafka.ts';
import { table } from './report.ts';

const NAMES = ['ours', 'java', 'librdkafka'] as const;
const fixed = (value: number | null, digits = 0): string => value?.toFixed(digits) ?? '–';

const HEAD = ['', 'MB/s', 'java', 'librdkafka', '÷ java', 'CPU ms/MB', 'java', 'librdkafka', '÷ java', 'goal'];

function cells(row: KafkaRow): string[] {
  const goal =
    row.goal === null ? '' : `≥ ${row.goal.ratio}, CPU ≤ ${row.goal.cpuRatio} ${row.goal.met ? 'met' : 'MISSED'}`;
  return [
    row.case,
    ...NAMES.map((name) => fixed(row[name])),
    fixed(row.ratio, 2),
    ...NAMES.map((name) => fixed(row.cpuMs[name], 2)),
    fixed(row.cpuRatio, 2),
    goal,
  ];
}

export function kafkaReport({ rows, lanes, machine, recordBytes, skipped }: KafkaResult): string {
  const head = ['CPU ms/MB', 'with start', 'java', 'librdkafka', '÷ java', 'broker with ours', 'java', 'librdkafka'];
  const more = rows.map((row) => [
    row.case,
    ...NAMES.map((name) => fixed(row.cpuMsWithStart[name], 2)),
    fixed(row.cpuRatioWithStart, 2),
    ...NAMES.map((name) => fixed(row.brokerCpuMs[name], 2)),
  ]);
  return [
    `${machine.cpu}, ${machine.cores} cores, load ${machine.load.toFixed(1)}, Node ${machine.node}`,
    `records of ${recordBytes} bytes, idempotent, acks=all; medians of ${rows[0]?.rounds.ours.length ?? 0} interleaved rounds; MB of 10^6 bytes`,
    '',
    table([HEAD, ...rows.map(cells)]),
    '',
    table([head, ...more]),
    '',
    `${lanes.count} lanes ÷ 1: produce ${lanes.produce.toFixed(2)}, consume ${lanes.consume.toFixed(2)}`,
    ...skipped.map((line) => `SKIPPED ${line}`),
  ].join('\n');
}
