// `ops kafka up|down|status`: flags into options, results into lines.

import { join, resolve } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { cacheRoot } from '../setup/plain.ts';
import { downKafka, statusKafka, upKafka } from './broker.ts';

interface Flags {
  readonly dir: string;
  readonly port?: number;
  readonly json?: true;
}

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

export function kafkaCommand(): Command {
  const kafka = new Command('kafka').description('a real Apache Kafka broker on this machine (KRaft, 127.0.0.1 only)');
  const add = (name: string, description: string) =>
    kafka
      .command(name)
      .description(description)
      .option('--dir <dir>', "folder of the broker's topics, log and settings", join(cacheRoot(), 'kafka-data'))
      .option('--json', 'end with the result as one JSON object');

  add('up', 'start it, or name the one that runs; it stays up after this command')
    .option('--port <port>', 'port of 127.0.0.1 (default: the last one, else a free one)', port)
    .action(async (flags: Flags) => {
      const say = sayTo(flags.json === true);
      const broker = await upKafka({ dir: flags.dir, say, ...(flags.port === undefined ? {} : { port: flags.port }) });
      result(flags, broker, `${broker.transport} is up (pid ${broker.pid}, ${broker.dir})`);
    });

  add('down', 'stop it; its topics stay').action(async (flags: Flags) => {
    const { stopped, killed } = await downKafka(flags);
    const text = killed ? 'killed, since it did not stop within 20 s' : 'stopped';
    result(flags, { stopped, killed }, stopped ? text : `no broker runs in ${resolve(flags.dir)}`);
  });

  add('status', 'whether it runs and answers').action(async (flags: Flags) => {
    const status = await statusKafka(flags);
    result(
      flags,
      status,
      status.running
        ? `${status.transport} ${status.answers ? 'answers' : 'does not answer'} (pid ${status.pid}, ${status.dir})`
        : `no broker runs in ${resolve(flags.dir)}`,
    );
  });
  return kafka;
}
