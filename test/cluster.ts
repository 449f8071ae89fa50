// A real Kafka cluster for one test file, in a folder of its own, which does not outlive the test's process.

import { readFileSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Kafka, logLevel } from 'kafkajs';
import { killMember, upCluster, upMember } from '#ops';
import { endOnSignals } from './broker.ts';

export interface TestCluster {
  readonly transport: string;
  readonly dir: string;
  /** Ends broker 1, 2, … without a chance to say goodbye. */
  kill(node: number): Promise<void>;
  /** Resolves when it answers. */
  restart(node: number): Promise<void>;
  /** Resolves when every replica of these topics has all records. */
  untilInSync(topics: readonly string[]): Promise<void>;
  stop(): Promise<void>;
}

export async function startCluster(brokers: number): Promise<TestCluster> {
  const dir = await mkdtemp(join(tmpdir(), 'medium-recipe-cluster-'));
  const onExit = () => {
    for (let node = 1; node <= brokers; node++) killNow(join(dir, `broker-${node}`, 'broker.json'));
    rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
  };
  process.on('exit', onExit);
  endOnSignals();
  const { transport } = await upCluster({ dir, brokers });
  return {
    transport,
    dir,
    kill: (node) => killMember({ dir, node }),
    restart: async (node) => {
      await upMember({ dir, node });
    },
    untilInSync: async (topics) => {
      while (!(await inSync(transport, topics))) await sleep(50);
    },
    stop: async () => {
      // Nothing of it is kept, so nobody has to say goodbye.
      await Promise.all(Array.from({ length: brokers }, (_, index) => killMember({ dir, node: index + 1 })));
      process.off('exit', onExit);
      await rm(dir, { recursive: true, force: true });
    },
  };
}

async function inSync(transport: string, topics: readonly string[]): Promise<boolean> {
  const brokers = transport.slice('kafka://'.length).split(',');
  const admin = new Kafka({ brokers, logLevel: logLevel.NOTHING }).admin();
  try {
    await admin.connect();
    const found = await admin.fetchTopicMetadata({ topics: [...topics] });
    return found.topics.every(({ partitions }) =>
      partitions.every(({ leader, isr, replicas }) => leader >= 0 && isr.length === replicas.length),
    );
  } catch (error) {
    // A broker that just started does not know yet who leads.
    if ((error as { retriable?: boolean }).retriable) return false;
    throw error;
  } finally {
    await admin.disconnect();
  }
}

/** At the end of this process nothing can be waited for. */
function killNow(file: string): void {
  try {
    process.kill(JSON.parse(readFileSync(file, 'utf8')).pid, 'SIGKILL');
  } catch {
    // It never started, or is gone already.
  }
}
