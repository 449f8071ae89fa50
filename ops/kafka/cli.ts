// `ops kafka up|down|status`: flags into options, results into lines.

import { join, resolve } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { Fault, wholeNumber } from '#shards';
import { cacheRoot } from '../setup/plain.ts';
import { downKafka, statusKafka, upKafka } from './broker.ts';
import { downCluster, isCluster, statusCluster, upCluster } from './cluster.ts';

interface Flags {
  readonly brokers: number;
  readonly dir?: string;
  readonly port?: number;
  readonly json?: true;
}

/** A single broker and a cluster are not the same folder, so that both may stay. */
const folderOf = ({ brokers, dir }: Flags): string =>
  resolve(dir ?? join(cacheRoot(), brokers === 1 ? 'kafka-data' : `kafka-data-${brokers}`));

function port(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1 || number > 65535) {
    throw new InvalidArgumentError('expected a port, 1 to 65535');
  }
  return number;
}

/** Says things to people; with --json they go to stderr, since stdout ends with one object. */
const sayTo = (json: boolean) => (line: string) => {
  (json ? process.stderr : process.stdout).write(`${line}\n`);
};

/** The one result: an object with --json, else lines of text. */
function result(flags: Flags, object: object, text: string): void {
  process.stdout.write(`${flags.json ? JSON.stringify(object) : text}\n`);
}

async function up(flags: Flags): Promise<void> {
  const [say, dir] = [sayTo(flags.json === true), folderOf(flags)];
  if (flags.brokers > 1 || isCluster(dir)) {
    if (flags.port !== undefined)
      throw new Fault({
        code: 'usage',
        received: `--port ${flags.port} for a cluster`,
        expected: 'a single broker',
        remedy: 'leave out --port: a cluster keeps the ports that it finds free at first',
        exit: 2,
      });
    const cluster = await upCluster({ dir, brokers: flags.brokers, say });
    const pids = cluster.brokers.map(({ pid }) => pid).join(', ');
    result(flags, cluster, `${cluster.transport} is up (pids ${pids}, ${dir})`);
    return;
  }
  const broker = await upKafka({ dir, say, ...(flags.port === undefined ? {} : { port: flags.port }) });
  result(flags, broker, `${broker.transport} is up (pid ${broker.pid}, ${broker.dir})`);
}

async function down(flags: Flags): Promise<void> {
  const dir = folderOf(flags);
  if (isCluster(dir)) {
    const { stopped, killed } = await downCluster({ dir });
    const slow = killed > 0 ? `, ${killed} of them killed, since they did not stop within 20 s` : '';
    const text = `${stopped} brokers stopped${slow}`;
    result(flags, { stopped: stopped > 0, killed: killed > 0 }, stopped > 0 ? text : `no broker runs in ${dir}`);
    return;
  }
  const { stopped, killed } = await downKafka({ dir });
  const text = killed ? 'killed, since it did not stop within 20 s' : 'stopped';
  result(flags, { stopped, killed }, stopped ? text : `no broker runs in ${dir}`);
}

async function status(flags: Flags): Promise<void> {
  const dir = folderOf(flags);
  if (isCluster(dir)) {
    const found = await statusCluster({ dir });
    const running = found.brokers.filter((broker) => broker.running);
    const answering = running.filter((broker) => broker.running && broker.answers).length;
    const text = `${found.transport}: of ${found.brokers.length} brokers ${running.length} run and ${answering} answer (${dir})`;
    result(flags, running.length > 0 ? found : { running: false }, text);
    return;
  }
  const found = await statusKafka({ dir });
  const text = found.running
    ? `${found.transport} ${found.answers ? 'answers' : 'does not answer'} (pid ${found.pid}, ${dir})`
    : `no broker runs in ${dir}`;
  result(flags, found, text);
}

export function kafkaCommand(): Command {
  const kafka = new Command('kafka').description('real Apache Kafka brokers on this machine (KRaft, 127.0.0.1 only)');
  const add = (name: string, description: string) =>
    kafka
      .command(name)
      .description(description)
      .option('--brokers <n>', 'one broker, or a cluster of so many', wholeNumber('--brokers', 1), 1)
      .option('--dir <dir>', 'folder of their topics, logs and settings (default: kafka-data[-N] in the cache)')
      .option('--json', 'end with the result as one JSON object');
  add('up', 'start it, or name the one that runs; it stays up after this command')
    .option('--port <port>', 'port of 127.0.0.1 of a single broker (default: the last one, else a free one)', port)
    .action(up);
  add('down', 'stop it; its topics stay').action(down);
  add('status', 'whether it runs and answers').action(status);
  return kafka;
}
