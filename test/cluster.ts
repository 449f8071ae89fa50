// A real Kafka cluster for one test file, in a folder of its own, which does not outlive the test's process.

import { readFileSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { downCluster, killMember, upCluster, upMember } from '#ops';
import { endOnSignals } from './broker.ts';

export interface TestCluster {
  readonly transport: string;
  readonly dir: string;
  /** Ends broker 1, 2, … without a chance to say goodbye. */
  kill(node: number): Promise<void>;
  /** Resolves when it answers. */
  restart(node: number): Promise<void>;
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
    stop: async () => {
      await downCluster({ dir });
      process.off('exit', onExit);
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** At the end of this process nothing can be waited for. */
function killNow(file: string): void {
  try {
    process.kill(JSON.parse(readFileSync(file, 'utf8')).pid, 'SIGKILL');
  } catch {
    // It never started, or is gone already.
  }
}
