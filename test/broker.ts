// A real Kafka broker for one test file, in a folder of its own, which does not outlive the test's process.

import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Broker, downKafka, killKafka, type UpOptions, upKafka } from '#ops';

export interface TestBroker {
  readonly transport: Broker['transport'];
  readonly dir: string;
  readonly pid: number;
  /** As after SIGKILL and `ops kafka up`: the same folder and, where it is still free, the same port. */
  restart(): Promise<void>;
  /** Without a chance to say goodbye. */
  kill(): void;
  /** The same, until the process is gone. */
  crash(): Promise<void>;
  stop(): Promise<void>;
}

/** The default action of a signal ends a process without 'exit' handlers; with these the broker goes along. */
let signalsHandled = false;

export function endOnSignals(): void {
  if (signalsHandled) return;
  signalsHandled = true;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1));
}

export async function startBroker(
  options: Pick<UpOptions, 'proxied' | 'settings' | 'formatArgs'> = {},
): Promise<TestBroker> {
  const dir = await mkdtemp(join(tmpdir(), 'medium-recipe-broker-'));
  const up = () => upKafka({ ...options, dir, heapMb: 256 });
  let broker = await up();
  const kill = () => {
    try {
      process.kill(broker.pid, 'SIGKILL');
    } catch {
      // It is gone already.
    }
  };
  const onExit = () => {
    kill();
    rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
  };
  process.on('exit', onExit);
  endOnSignals();
  return {
    get transport() {
      return broker.transport;
    },
    dir,
    get pid() {
      return broker.pid;
    },
    kill,
    crash: () => killKafka({ dir }),
    restart: async () => {
      broker = await up();
    },
    stop: async () => {
      await downKafka({ dir });
      process.off('exit', onExit);
      await rm(dir, { recursive: true, force: true });
    },
  };
}
