// The contenders of `ops bench kafka`: our transport, Kafka's own performance tools in Java, librdkafka through Python.

import { fileURLToPath } from 'node:url';
import { Fault } from '#shards';
import { ensureTools } from '../kafka/jars.ts';
import { packageRoot } from '../setup/plain.ts';
import { runMeasured } from './measured-child.ts';
import { LIBRDKAFKA, pythonWith } from './python.ts';

/** What a contender is asked for, in a process of its own. */
export interface KafkaLoad {
  readonly task: 'produce' | 'consume';
  readonly transport: string;
  readonly topic: string;
  /** Partitions; ours has a lane for each. */
  readonly lanes: number;
  /** Produced before the clock starts. */
  readonly warmUp: number;
  readonly records: number;
  /** A file of records, one a line. */
  readonly payload: string;
  readonly maxRecordBytes: number;
}

export interface KafkaRun {
  /** Of `records` alone, as the contender itself tells. */
  readonly seconds: number;
  /** Of the process from its start to its end; null without /proc. */
  readonly cpuSeconds: number | null;
}

export interface KafkaContender {
  readonly name: 'ours' | 'java' | 'librdkafka';
  /** Why it cannot run here, with the remedy. */
  readonly missing: string | null;
  run(load: KafkaLoad, signal: AbortSignal): Promise<KafkaRun>;
}

interface Answer {
  readonly seconds: number;
  readonly bytes: number;
}

/** A program that takes the load as JSON and answers with {seconds, bytes}. */
function program(name: KafkaContender['name'], command: string, script: string): KafkaContender['run'] {
  return async (load, signal) => {
    const { result, cpu } = await runMeasured<Answer>({ command, args: [script], input: load, signal });
    if (load.records > 0 && result.bytes < load.records * RECORD_BYTES)
      throw wrongWork(name, `${result.bytes} bytes of ${load.records} records`);
    return { seconds: result.seconds, cpuSeconds: cpu?.process ?? null };
  };
}

export const RECORD_BYTES = 1_000_000;

/** kafka-producer-perf-test.sh and kafka-consumer-perf-test.sh give themselves as much. */
const HEAP = '-Xmx512M';

function javaTools(classPath: string): KafkaContender['run'] {
  const java = process.env['JAVA_HOME'] ? `${process.env['JAVA_HOME']}/bin/java` : 'java';
  return async (load, signal) => {
    const { task, transport, topic, warmUp, records, payload, maxRecordBytes } = load;
    const broker = transport.replace('kafka://', '');
    // A batch of one record's size comes from the producer's pool; with the default each would be new memory.
    const settings = ['acks=all', 'enable.idempotence=true', 'linger.ms=0'];
    const sizes = [`max.request.size=${maxRecordBytes}`, `batch.size=${maxRecordBytes}`];
    const produce = [
      ...['org.apache.kafka.tools.ProducerPerformance', '--topic', topic, '--throughput', '-1'],
      ...['--num-records', String(warmUp + records), '--warmup-records', String(warmUp), '--payload-file', payload],
      ...['--command-property', `bootstrap.servers=${broker}`, ...settings, ...sizes],
    ];
    const consume = [
      ...['org.apache.kafka.tools.ConsumerPerformance', '--topic', topic, '--num-records', String(records)],
      ...['--bootstrap-server', broker, '--hide-header'],
    ];
    const { result, cpu } = await runMeasured<number>({
      command: java,
      args: [HEAP, '-cp', classPath, ...(task === 'produce' ? produce : consume)],
      read: (stdout) => (task === 'produce' ? steadySeconds(stdout, records) : fetchSeconds(stdout, records)),
      signal,
    });
    return { seconds: result, cpuSeconds: cpu?.process ?? null };
  };
}

/** Of ProducerPerformance's line about the records after the warm-up. @throws Fault `unequal-work` */
export function steadySeconds(stdout: string, records: number): number {
  const line = /^(\d+) steady state records sent, ([\d.]+) records\/sec/m.exec(stdout);
  if (Number(line?.[1]) !== records) throw wrongWork('java', line?.[0] ?? stdout.trim());
  return records / Number(line?.[2]);
}

/** Of ConsumerPerformance's one line: the time that it fetched, without that of joining its group. @throws Fault `unequal-work` */
export function fetchSeconds(stdout: string, records: number): number {
  const cells = stdout.trim().split('\n').at(-1)?.split(', ') ?? [];
  const fetched = Number(cells[4]);
  if (cells.length !== 10 || !(fetched >= records)) throw wrongWork('java', stdout.trim());
  return (Number(cells[7]) / 1000) * (records / fetched);
}

const wrongWork = (name: string, received: string): Fault =>
  new Fault({
    code: 'unequal-work',
    received: `${name}: ${received}`,
    expected: 'as many records as asked for',
    remedy: 'the benchmark itself is wrong: mend it',
  });

/** Ours first. What cannot be had says why. Fetches Kafka's tools and makes Python's environment where they are missing. */
export async function kafkaContenders(say: (line: string) => void): Promise<KafkaContender[]> {
  const ours = fileURLToPath(new URL('./kafka-load.js', import.meta.url));
  const script = fileURLToPath(new URL('ops/bench/peer_kafka.py', packageRoot));
  const orMissing = async (
    name: KafkaContender['name'],
    make: () => Promise<KafkaContender['run']>,
  ): Promise<KafkaContender> => {
    try {
      return { name, missing: null, run: await make() };
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      return { name, missing: error.message, run: () => Promise.reject(error) };
    }
  };
  return [
    { name: 'ours', missing: null, run: program('ours', process.execPath, ours) },
    await orMissing('java', async () => javaTools(await ensureTools(say))),
    await orMissing('librdkafka', async () => program('librdkafka', await pythonWith(LIBRDKAFKA, say), script)),
  ];
}
