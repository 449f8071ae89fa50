// A real Apache Kafka broker on this machine: up, down and status of the one that lives in a folder.

import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, openSync, readFileSync, statSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Fault } from '#shards';
import { identity, withLock, writeAtomically } from '../setup/plain.ts';
import { freePorts, isFree, type NodeSettings, type Ports, type ServerSettings, serverProperties } from './config.ts';
import { asset, ensureJars, KAFKA_VERSION } from './jars.ts';

const run = promisify(execFile);

/** A broker that answers takes 3–10 s; after a kill it reads its segments again. */
const START_PATIENCE_MS = 120_000;
const STOP_PATIENCE_MS = 20_000;

export interface UpOptions extends Pick<NodeSettings, 'member' | 'proxied'> {
  /** Folder of one broker: its topics, settings, log and who it is. Made if missing. */
  readonly dir: string;
  /** Port of 127.0.0.1; without it that of the last time if it is free, else any free one. */
  readonly port?: number;
  /** Of a cluster's member, whose fellows know it. */
  readonly controllerPort?: number;
  /** Java heap in MiB. */
  readonly heapMb?: number;
  /** Level of DIR/broker.log. */
  readonly logLevel?: 'ERROR' | 'WARN' | 'INFO';
  readonly say?: (line: string) => void;
  /**
   * More settings for a broker's ports, beside ours or instead of them (listeners, authorizer). It must stay reachable
   * in plaintext at `port`: that is how it is asked whether it is up.
   */
  readonly settings?: (ports: Ports) => ServerSettings;
  /** More arguments of `StorageTool format`, as `--add-scram`: for a folder's first start. */
  readonly formatArgs?: readonly string[];
}

export interface Broker {
  readonly transport: `kafka://127.0.0.1:${number}`;
  readonly pid: number;
  readonly dir: string;
}

/** DIR/broker.json: the last broker of this folder. `process` is its identity, beyond the reuse of its pid. */
interface State extends Ports {
  readonly process: string;
  readonly pid: number;
  readonly version: string;
}

/**
 * Starts the folder's broker, or names the one that runs. It is detached and survives this process; it is up when it
 * answers a metadata request with its own cluster id.
 * Fault `java-missing`, `java-old`, `maven-missing`, `kafka-download`, `kafka-jars`, `port-taken`, `kafka-start`.
 */
export async function upKafka(options: UpOptions): Promise<Broker> {
  const { port, heapMb = 512, logLevel = 'WARN', say = () => undefined, settings, formatArgs = [] } = options;
  const dir = resolve(options.dir);
  await mkdir(dir, { recursive: true });
  const wait = (pid: string) => say(`waiting for process ${pid}, which is starting this broker`);
  return withLock(join(dir, 'up.lock'), wait, async () => {
    const running = readState(dir);
    if (running !== null && lives(running)) {
      if (port !== undefined && port !== running.port)
        throw portTaken(port, `this broker runs on port ${running.port}`);
      // A broker that was just killed still is a process for a moment: then it is started like any other.
      if (await untilItAnswers(dir, running)) return describe(dir, running);
    }
    const java = await findJava();
    const classPath = await ensureJars(say);
    const ports = await choosePorts(options, running);
    const jvm = [
      // Half a heap of a default broker, and only the first compiler: it starts in half the time, beside a trainer.
      ...[`-Xmx${heapMb}m`, '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Djava.awt.headless=true'],
      ...[`-Dkafka.log.level=${logLevel}`, `-Dlog4j2.configurationFile=${asset('log4j2.yaml')}`, '-cp', classPath],
    ];
    const node: NodeSettings = { member: options.member, proxied: options.proxied, settings: settings?.(ports) };
    await format(dir, ports, node, java, jvm, formatArgs);
    await writeFile(join(dir, 'server.properties'), serverProperties(ports, join(dir, 'data'), node));
    say(`starting Apache Kafka ${KAFKA_VERSION} on 127.0.0.1:${ports.port}`);
    const logFile = join(dir, 'broker.log');
    const logged = statSync(logFile, { throwIfNoEntry: false })?.size ?? 0;
    const state = launch(dir, ports, java, jvm);
    try {
      if (await untilItAnswers(dir, state)) return describe(dir, state);
    } catch (error) {
      await stop(state);
      throw error;
    }
    const log = await readFile(logFile);
    throw startFault(dir, `the broker ended: ${lastLine(log.subarray(logged).toString())}`);
  });
}

/**
 * Stops the folder's broker: SIGTERM to its own pid, SIGKILL after 20 s. Its topics stay.
 * Returns whether there was one and whether it had to be killed.
 */
export async function downKafka(options: { readonly dir: string }): Promise<{ stopped: boolean; killed: boolean }> {
  const dir = resolve(options.dir);
  const state = readState(dir);
  if (state === null || !lives(state)) return { stopped: false, killed: false };
  return { stopped: true, killed: await stop(state) };
}

/** Ends the folder's broker without a chance to say goodbye. Resolves when the process is gone. */
export async function killKafka(options: { readonly dir: string }): Promise<void> {
  const state = readState(resolve(options.dir));
  if (state === null || !lives(state)) return;
  process.kill(state.pid, 'SIGKILL');
  await gone(state, STOP_PATIENCE_MS);
}

export type KafkaStatus =
  | (Broker & { readonly running: true; readonly answers: boolean })
  | { readonly running: false };

/** Whether the folder's broker runs, and whether it answers a metadata request now. */
export async function statusKafka(options: { readonly dir: string }): Promise<KafkaStatus> {
  const dir = resolve(options.dir);
  const state = readState(dir);
  if (state === null || !lives(state)) return { running: false };
  return { running: true, answers: await answers(dir, state), ...describe(dir, state) };
}

function readState(dir: string): State | null {
  const file = join(dir, 'broker.json');
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : null; // only ever written by rename
}

const lives = (state: State): boolean => identity(state.pid) === state.process;

const describe = (dir: string, { port, pid }: State): Broker => ({ transport: `kafka://127.0.0.1:${port}`, pid, dir });

const portTaken = (port: number, received: string): Fault =>
  new Fault({
    code: 'port-taken',
    received,
    expected: `port ${port} of 127.0.0.1 free`,
    remedy: 'leave out --port, or choose another one',
  });

async function choosePorts(
  { port: wanted, controllerPort }: Pick<UpOptions, 'port' | 'controllerPort'>,
  before: State | null,
): Promise<Ports> {
  for (const port of [wanted, controllerPort])
    if (port !== undefined && !(await isFree(port))) throw portTaken(port, 'somebody listens there');
  const [any = 0, other = 0] = await freePorts(2);
  const again = async (port: number | undefined) => port !== undefined && port !== wanted && (await isFree(port));
  // The same ports again where possible: clients that wait for a broker that crashed find it there.
  return {
    port: wanted ?? ((await again(before?.port)) ? (before?.port ?? any) : any),
    controllerPort:
      controllerPort ?? ((await again(before?.controllerPort)) ? (before?.controllerPort ?? other) : other),
  };
}

/** `java` of JAVA_HOME or PATH, which must be 17 or newer. */
async function findJava(): Promise<string> {
  const home = process.env['JAVA_HOME'];
  const java = home ? join(home, 'bin', 'java') : 'java';
  const remedy = 'install a Java 17 runtime (Debian: openjdk-17-jre-headless; macOS: brew install openjdk)';
  const expected = `Java 17 or newer, which Kafka ${KAFKA_VERSION} needs`;
  // The version goes to stderr; macOS has a java that only says where to get one.
  const { stderr } = await run(java, ['-version']).catch(() => ({ stderr: '' }));
  const version = /version "(\d+)/.exec(stderr)?.[1];
  if (version === undefined) {
    const received = home ? `no working java in JAVA_HOME ${home}` : 'no java on PATH';
    throw new Fault({ code: 'java-missing', received, expected, remedy });
  }
  if (Number(version) < 17) throw new Fault({ code: 'java-old', received: `Java ${version}`, expected, remedy });
  return java;
}

export const newClusterId = (): string => randomBytes(16).toString('base64url');

/** Gives a new folder its cluster id. Formatted aside and renamed, so that a half-formatted one never counts. */
async function format(
  dir: string,
  ports: Ports,
  node: NodeSettings,
  java: string,
  jvm: readonly string[],
  moreArgs: readonly string[],
): Promise<void> {
  if (existsSync(join(dir, 'data', 'meta.properties'))) return;
  const aside = join(dir, 'data.new');
  await rm(aside, { recursive: true, force: true });
  const properties = join(dir, 'format.properties');
  await writeFile(properties, serverProperties(ports, aside, node));
  const id = node.member?.clusterId ?? newClusterId();
  const alone = node.member ? [] : ['--standalone'];
  // With '=': an id may begin with '-', which would be taken for an option.
  const args = ['kafka.tools.StorageTool', 'format', ...alone, `--cluster-id=${id}`, '-c', properties];
  try {
    await run(java, [...jvm, ...args, ...moreArgs]);
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw startFault(dir, `formatting failed: ${lastLine(`${stdout}\n${stderr}`)}`, error);
  }
  await rename(aside, join(dir, 'data'));
  await rm(properties);
}

function launch(dir: string, ports: Ports, java: string, jvm: readonly string[]): State {
  const log = openSync(join(dir, 'broker.log'), 'a');
  try {
    // A group of its own: a Ctrl-C meant for us does not reach it.
    const child = spawn(java, [...jvm, 'kafka.Kafka', join(dir, 'server.properties')], {
      detached: true,
      stdio: ['ignore', log, log],
    });
    child.unref();
    if (child.pid === undefined) throw startFault(dir, `${java} could not be started`);
    const state: State = {
      pid: child.pid,
      process: identity(child.pid) ?? 'gone',
      ...ports,
      version: KAFKA_VERSION,
    };
    writeAtomically(join(dir, 'broker.json'), `${JSON.stringify(state)}\n`);
    return state;
  } finally {
    closeSync(log);
  }
}

/** False when it ended before it answered. */
async function untilItAnswers(dir: string, state: State): Promise<boolean> {
  const deadline = Date.now() + START_PATIENCE_MS;
  while (!(await answers(dir, state))) {
    if (!lives(state)) return false;
    if (Date.now() > deadline) throw startFault(dir, `no answer within ${START_PATIENCE_MS / 1000} s`);
    await sleep(50);
  }
  return true;
}

/** A real metadata request: an open port says little, and may be somebody else's. */
async function answers(dir: string, { port }: State): Promise<boolean> {
  const meta = await readFile(join(dir, 'data', 'meta.properties'), 'utf8').catch(() => '');
  const found = await askCluster(port);
  return found !== null && found.brokers > 0 && meta.includes(`cluster.id=${found.clusterId}\n`);
}

/** What the broker on this port knows of its cluster; null where nobody answers. */
export async function askCluster(port: number): Promise<{ clusterId: string; brokers: number } | null> {
  const { Kafka, logLevel } = await import('kafkajs');
  const admin = new Kafka({
    clientId: 'ops',
    brokers: [`127.0.0.1:${port}`],
    logLevel: logLevel.NOTHING, // refusals are what we wait through
    connectionTimeout: 1000,
    requestTimeout: 2000,
    retry: { retries: 0 },
  }).admin();
  try {
    await admin.connect();
    const { clusterId, brokers } = await admin.describeCluster();
    return { clusterId, brokers: brokers.length };
  } catch {
    return null;
  } finally {
    await admin.disconnect();
  }
}

/** Whether the process ends within so many ms. */
async function gone(state: State, patience: number): Promise<boolean> {
  for (const deadline = Date.now() + patience; lives(state); await sleep(20)) if (Date.now() > deadline) return false;
  return true;
}

/** Returns whether it had to be killed. */
async function stop(state: State): Promise<boolean> {
  if (lives(state)) process.kill(state.pid, 'SIGTERM');
  const ended = await gone(state, STOP_PATIENCE_MS);
  if (!ended) {
    process.kill(state.pid, 'SIGKILL');
    await gone(state, STOP_PATIENCE_MS);
  }
  return !ended;
}

/** The last line that names an error, else the last line. */
function lastLine(text: string): string {
  const lines = text.split('\n').filter((line) => line.trim() !== '' && !/^\s+at /.test(line));
  return lines.findLast((line) => /ERROR|FATAL|Exception/.test(line)) ?? lines.at(-1) ?? 'no output';
}

function startFault(dir: string, received: string, cause?: unknown): Fault {
  return new Fault({
    code: 'kafka-start',
    received,
    expected: 'a broker that answers a metadata request',
    remedy: `see ${join(dir, 'broker.log')}`,
    cause,
  });
}
