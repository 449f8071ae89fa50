#!/usr/bin/env node
// Our contender of `ops bench kafka`: appends or reads through the transport, as the stream does: a lane's next record
// when its last one is acknowledged, each released when it was read.
//
// Takes a KafkaLoad as JSON on stdin; prints {seconds, bytes} as one JSON line.

import { readFile } from 'node:fs/promises';
import { json } from 'node:stream/consumers';
import { openTransport } from '#stream';
import type { KafkaLoad } from './kafka-contenders.ts';

/** As `trainer consume` prefetches. */
const PREFETCH_BYTES = 256 * 1024 * 1024;

const load = (await json(process.stdin)) as KafkaLoad;
const transport = await openTransport(load.transport, { onEvent: (line) => process.stderr.write(`${line}\n`) });
const { seconds, bytes } = await (load.task === 'produce' ? produce(load) : consume(load));
await transport.close();
process.stdout.write(`${JSON.stringify({ seconds, bytes })}\n`);

interface Timed {
  readonly seconds: number;
  readonly bytes: number;
}

function shareOf(records: number, lanes: number, lane: number): number {
  return Math.floor(records / lanes) + (lane < records % lanes ? 1 : 0);
}

async function produce({ topic, lanes, warmUp, records, payload }: KafkaLoad): Promise<Timed> {
  const lines = (await readFile(payload)).toString('latin1').trimEnd().split('\n');
  const values = lines.map((line) => Buffer.from(line, 'latin1'));
  let bytes = 0;
  const run = (count: number) =>
    Promise.all(
      Array.from({ length: lanes }, async (_, lane) => {
        for (let i = 0; i < shareOf(count, lanes, lane); i++) {
          const value = values[(i * lanes + lane) % values.length] as Buffer;
          await transport.append(topic, lane, value);
          bytes += value.length;
        }
      }),
    );
  await run(warmUp);
  bytes = 0;
  const begun = performance.now();
  await run(records);
  return { seconds: (performance.now() - begun) / 1000, bytes };
}

async function consume({ topic, lanes, records }: KafkaLoad): Promise<Timed> {
  const begun = performance.now();
  const starts = new Map(Array.from({ length: lanes }, (_, lane) => [lane, 0]));
  const reader = await transport.read({ topic, from: starts, maxBytes: PREFETCH_BYTES / lanes });
  let bytes = 0;
  await Promise.all(
    Array.from({ length: lanes }, async (_, lane) => {
      for (let i = 0; i < shareOf(records, lanes, lane); i++) {
        const record = await reader.next(lane);
        if (record === null) throw new Error('the reader was closed');
        bytes += record.value.length;
        reader.release(record);
      }
    }),
  );
  const seconds = (performance.now() - begun) / 1000;
  await reader.close();
  return { seconds, bytes };
}
