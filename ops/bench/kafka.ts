// `ops bench kafka`: MB/s and CPU time of producing and consuming through our transport, beside Kafka's own tools in Java
// and librdkafka, on one broker.

import { randomBytes } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { type Broker, downKafka, upKafka } from '../kafka/broker.ts';
import { cacheRoot, temporary } from '../setup/plain.ts';
import {
  type KafkaContender,
  type KafkaLoad,
  type KafkaRun,
  kafkaContenders,
  RECORD_BYTES,
} from './kafka-contenders.ts';
import { groupCpuSeconds } from './loader-child.ts';
import { type Machine, machine } from './machine.ts';
import { median } from './preprocess.ts';

export interface KafkaOptions {
  /** Produced a round and contender after the warm-up, of a million bytes each; consumed are twice as many. */
  readonly records: number;
  readonly rounds: number;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

type ByName<T> = Readonly<Record<KafkaContender['name'], T>>;

/** Medians; null where a contender was skipped, and CPU time without /proc. */
export interface KafkaRow extends ByName<number | null> {
  readonly case: string;
  /** MB/s (10^6 bytes): ours over Java's. */
  readonly ratio: number | null;
  /** Ours over librdkafka's. */
  readonly ratioLibrdkafka: number | null;
  /** CPU milliseconds a MB of the timed records: without the process' start and its warm-up, measured by short runs. */
  readonly cpuMs: ByName<number | null>;
  /** Ours over Java's. */
  readonly cpuRatio: number | null;
  /** The whole process, a MB of all it produced or consumed. */
  readonly cpuMsWithStart: ByName<number | null>;
  readonly cpuRatioWithStart: number | null;
  /** Of the broker meanwhile, a MB. */
  readonly brokerCpuMs: ByName<number | null>;
  /** MB/s of each round. */
  readonly rounds: ByName<readonly number[]>;
  /** Null where there is none. */
  readonly goal: { readonly ratio: number; readonly cpuRatio: number; readonly met: boolean } | null;
}

export interface KafkaResult {
  readonly rows: readonly KafkaRow[];
  /** Our MB/s with several lanes over those with one. */
  readonly lanes: { readonly count: number; readonly produce: number; readonly consume: number };
  readonly machine: Machine;
  readonly recordBytes: number;
  readonly skipped: readonly string[];
}

const LANES = 4;
const CASES = (['produce', 'consume'] as const).flatMap((task) => [1, LANES].map((lanes) => ({ task, lanes })));
/** Wall rate and CPU time beside Java's producer. */
const GOAL = { ratio: 0.9, cpuRatio: 1.3 } as const;
const WARM_UP = 100;
/** Of a run that tells what start and warm-up cost. */
const FEW = 20;
/** Of such runs, a contender and case. */
const SHORT_RUNS = 3;
const MAX_RECORD_BYTES = RECORD_BYTES + 48_576;
const DIFFERENT_RECORDS = 8;
/** Reading is faster than writing: so many times the records, so that it takes as long. */
const CONSUMED = 2;

const nameOf = ({ task, lanes }: (typeof CASES)[number]): string =>
  `${task}, ${lanes === 1 ? '1 partition' : `${lanes} partitions`}`;

interface Measured extends KafkaRun {
  readonly brokerSeconds: number | null;
}

/** @throws Fault of `upKafka`, `contender-failed`, `unequal-work` */
export async function benchKafka(options: KafkaOptions): Promise<KafkaResult> {
  const { say } = options;
  const contenders = await kafkaContenders(say);
  const skipped = contenders.flatMap(({ name, missing }) => (missing === null ? [] : [`${name}: ${missing}`]));
  for (const line of skipped) say(`SKIPPED: ${line}`);
  const scratch = temporary(cacheRoot());
  await mkdir(scratch, { recursive: true });
  const dir = join(scratch, 'kafka');
  try {
    const payload = join(scratch, 'payload');
    await writeFile(payload, Buffer.concat(Array.from({ length: DIFFERENT_RECORDS }, recordLine)));
    const broker = await upKafka({ dir, say });
    const present = contenders.filter(({ missing }) => missing === null);
    const contest = new KafkaContest(options, broker, payload);
    const rows = await contest.run(present);
    const rate = (task: string, lanes: number) => rows[CASES.findIndex((c) => c.task === task && c.lanes === lanes)];
    const scaling = (task: string) => (rate(task, LANES)?.ours ?? Number.NaN) / (rate(task, 1)?.ours ?? Number.NaN);
    const lanes = { count: LANES, produce: scaling('produce'), consume: scaling('consume') };
    return { rows, lanes, machine: machine(availableParallelism()), recordBytes: RECORD_BYTES, skipped };
  } finally {
    await downKafka({ dir });
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Printable ASCII, since Java's tool reads its payload as text. */
const recordLine = (): Buffer => {
  const line = randomBytes(RECORD_BYTES + 1).map((byte) => 32 + (byte % 95));
  line[RECORD_BYTES] = 0x0a;
  return Buffer.from(line);
};

class KafkaContest {
  readonly #options: KafkaOptions;
  readonly #broker: Broker;
  readonly #payload: string;
  #topics = 0;

  constructor(options: KafkaOptions, broker: Broker, payload: string) {
    this.#options = options;
    this.#broker = broker;
    this.#payload = payload;
  }

  /** Interleaved: every round has all cases and contenders, and is begun by another one. */
  async run(contenders: readonly KafkaContender[]): Promise<KafkaRow[]> {
    const { rounds, say } = this.#options;
    const [ours] = contenders;
    if (ours === undefined) throw new Error('nobody takes part');
    const long = CASES.map(() => new Map<KafkaContender, Measured[]>(contenders.map((each) => [each, []])));
    const short = CASES.map(() => new Map<KafkaContender, Measured[]>(contenders.map((each) => [each, []])));
    const filled = new Map<number, string>();
    for (const lanes of [1, LANES]) {
      const topic = await this.#newTopic(lanes);
      filled.set(lanes, topic);
      await this.#load(ours, { task: 'produce', lanes, topic, records: this.#recordsOf('consume') });
    }
    for (let round = 0; round < rounds; round++) {
      for (const [i, { task, lanes }] of CASES.entries()) {
        for (const turn of contenders.keys()) {
          const contender = contenders[(turn + round) % contenders.length] as KafkaContender;
          const measure = async (count: number): Promise<Measured> => {
            if (task === 'consume')
              return this.#load(contender, { task, lanes, topic: filled.get(lanes) ?? '', records: count });
            const topic = await this.#newTopic(lanes);
            const run = await this.#load(contender, { task, lanes, topic, records: count });
            await this.#deleteTopic(topic);
            return run;
          };
          if (round < SHORT_RUNS) short[i]?.get(contender)?.push(await measure(FEW));
          long[i]?.get(contender)?.push(await measure(this.#recordsOf(task)));
        }
        const told = Array.from(long[i] ?? [], ([{ name }, runs]) => {
          const { seconds = Number.NaN, cpuSeconds = null } = runs.at(-1) ?? {};
          const cpu = cpuSeconds === null ? '' : ` (${cpuSeconds.toFixed(2)} s CPU)`;
          return `${name} ${((this.#recordsOf(task) * RECORD_BYTES) / 1e6 / seconds).toFixed(0)} MB/s${cpu}`;
        });
        say(`round ${round + 1}: ${nameOf({ task, lanes })}: ${told.join(', ')}`);
      }
    }
    return CASES.map((each, i) => rowOf(each, this.#recordsOf(each.task), long[i] ?? new Map(), short[i] ?? new Map()));
  }

  #recordsOf(task: KafkaLoad['task']): number {
    return (task === 'produce' ? 1 : CONSUMED) * this.#options.records;
  }

  async #load(
    contender: KafkaContender,
    asked: Pick<KafkaLoad, 'task' | 'lanes' | 'topic' | 'records'>,
  ): Promise<Measured> {
    const { transport, pid } = this.#broker;
    const load = { ...asked, transport, warmUp: WARM_UP, payload: this.#payload, maxRecordBytes: MAX_RECORD_BYTES };
    const before = groupCpuSeconds(pid);
    const run = await contender.run(load, this.#options.signal);
    const after = groupCpuSeconds(pid);
    return { ...run, brokerSeconds: before === null || after === null ? null : after - before };
  }

  async #newTopic(lanes: number): Promise<string> {
    const topic = `bench-${this.#topics++}`;
    const settings = {
      'max.message.bytes': MAX_RECORD_BYTES,
      // Small, and gone at once: what was produced is not to be written to a disk while the next one is timed.
      'segment.bytes': 64 * 2 ** 20,
      'file.delete.delay.ms': 0,
    };
    const configEntries = Object.entries(settings).map(([name, value]) => ({ name, value: String(value) }));
    await this.#administer((admin) =>
      admin.createTopics({ topics: [{ topic, numPartitions: lanes, replicationFactor: 1, configEntries }] }),
    );
    return topic;
  }

  async #deleteTopic(topic: string): Promise<void> {
    await this.#administer((admin) => admin.deleteTopics({ topics: [topic] }));
  }

  async #administer(operation: (admin: import('kafkajs').Admin) => Promise<unknown>): Promise<void> {
    const { Kafka, logLevel } = await import('kafkajs');
    const brokers = [this.#broker.transport.replace('kafka://', '')];
    const admin = new Kafka({ clientId: 'ops', brokers, logLevel: logLevel.NOTHING }).admin();
    await admin.connect();
    try {
      await operation(admin);
    } finally {
      await admin.disconnect();
    }
  }
}

function rowOf(
  { task, lanes }: (typeof CASES)[number],
  records: number,
  long: ReadonlyMap<KafkaContender, readonly Measured[]>,
  short: ReadonlyMap<KafkaContender, readonly Measured[]>,
): KafkaRow {
  const mb = (count: number): number => (count * RECORD_BYTES) / 1e6;
  const warmUp = task === 'produce' ? WARM_UP : 0;
  const by = <T>(value: (runs: readonly Measured[], few: readonly Measured[]) => T, none: T): ByName<T> => {
    const values: Record<KafkaContender['name'], T> = { ours: none, java: none, librdkafka: none };
    for (const [contender, runs] of long) values[contender.name] = value(runs, short.get(contender) ?? []);
    return values;
  };
  const known = (values: readonly (number | null)[]): number | null => {
    const numbers = values.filter((value) => value !== null);
    return numbers.length === 0 ? null : median(numbers);
  };
  const over = (a: number | null, b: number | null): number | null => (a === null || b === null ? null : a / b);
  const rates = by<number | null>((runs) => known(runs.map(({ seconds }) => mb(records) / seconds)), null);
  const cpuMs = by<number | null>((runs, few) => {
    const start = known(few.map(({ cpuSeconds }) => cpuSeconds));
    const whole = known(runs.map(({ cpuSeconds }) => cpuSeconds));
    return start === null || whole === null ? null : (1000 * (whole - start)) / mb(records - FEW);
  }, null);
  const perMb = (of: (run: Measured) => number | null) => (runs: readonly Measured[]) => {
    const seconds = known(runs.map(of));
    return seconds === null ? null : (1000 * seconds) / mb(warmUp + records);
  };
  const withStart = by<number | null>(
    perMb(({ cpuSeconds }) => cpuSeconds),
    null,
  );
  const ratio = over(rates.ours, rates.java);
  const cpuRatio = over(cpuMs.ours, cpuMs.java);
  const met = ratio !== null && cpuRatio !== null && ratio >= GOAL.ratio && cpuRatio <= GOAL.cpuRatio;
  return {
    case: nameOf({ task, lanes }),
    ...rates,
    ratio,
    ratioLibrdkafka: over(rates.ours, rates.librdkafka),
    cpuMs,
    cpuRatio,
    cpuMsWithStart: withStart,
    cpuRatioWithStart: over(withStart.ours, withStart.java),
    brokerCpuMs: by<number | null>(
      perMb(({ brokerSeconds }) => brokerSeconds),
      null,
    ),
    rounds: by<readonly number[]>((runs) => runs.map(({ seconds }) => mb(records) / seconds), []),
    goal: task === 'produce' ? { ...GOAL, met } : null,
  };
}
