// Several brokers on this machine as one cluster: each is broker and controller, in a folder of its own below the cluster's.

import { existsSync, readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Fault } from '#shards';
import { withLock, writeAtomically } from '../setup/plain.ts';
import {
  askCluster,
  type Broker,
  downKafka,
  killKafka,
  newClusterId,
  statusKafka,
  type UpOptions,
  upKafka,
} from './broker.ts';
import { freePorts, isFree, type Ports } from './config.ts';

export interface ClusterOptions extends Pick<UpOptions, 'heapMb' | 'logLevel' | 'say' | 'settings'> {
  /** Folder of the cluster. Made if missing. */
  readonly dir: string;
  /** How many, at least 2; a cluster keeps its size. */
  readonly brokers: number;
}

export interface Cluster {
  /** Names every broker. */
  readonly transport: string;
  readonly dir: string;
  readonly brokers: readonly Broker[];
}

/** DIR/cluster.json: who belongs to it. Node i has number i + 1. */
interface State {
  readonly clusterId: string;
  readonly nodes: readonly Ports[];
}

/** Small, as several run beside each other. */
const HEAP_MB = 256;
/** From each broker's answer until each knows all the others. */
const JOIN_PATIENCE_MS = 60_000;

const folderOf = (dir: string, node: number): string => join(dir, `broker-${node}`);

export const isCluster = (dir: string): boolean => existsSync(join(resolve(dir), 'cluster.json'));

const readState = (dir: string): State | null =>
  isCluster(dir) ? JSON.parse(readFileSync(join(dir, 'cluster.json'), 'utf8')) : null; // only ever written by rename

/**
 * Starts what does not run of the folder's cluster. All of them have the same ports again; where none runs and a port is
 * taken, all move.
 * Faults of `upKafka`; `cluster-size` where the folder holds another number of brokers.
 */
export async function upCluster(options: ClusterOptions): Promise<Cluster> {
  const { brokers, say = () => undefined } = options;
  const dir = resolve(options.dir);
  await mkdir(dir, { recursive: true });
  const wait = (pid: string) => say(`waiting for process ${pid}, which is starting this cluster`);
  return withLock(join(dir, 'cluster.lock'), wait, async () => {
    const state = await stateOf(dir, brokers);
    // Together: the first ones answer only when they are a majority.
    const started = await Promise.all(
      state.nodes.map((_, index) => upNode(dir, state, index + 1, { heapMb: HEAP_MB, ...options })),
    );
    await untilAllKnow(dir, state);
    return describe(dir, started);
  });
}

/** Starts one broker of a cluster again. Fault `port-taken` where its port is somebody's now: the others know it there. */
export function upMember(options: Omit<ClusterOptions, 'brokers'> & { readonly node: number }): Promise<Broker> {
  const dir = resolve(options.dir);
  const state = readState(dir);
  if (state === null) throw new Error(`${dir} holds no cluster`);
  return upNode(dir, state, options.node, { heapMb: HEAP_MB, ...options });
}

/** Ends one broker of a cluster without a chance to say goodbye. */
export const killMember = (options: { readonly dir: string; readonly node: number }): Promise<void> =>
  killKafka({ dir: folderOf(resolve(options.dir), options.node) });

/** Stops all of the folder's brokers. Their topics stay. */
export async function downCluster(options: { readonly dir: string }): Promise<{ stopped: number; killed: number }> {
  const dir = resolve(options.dir);
  const nodes = readState(dir)?.nodes ?? [];
  // Together: the last ones would wait in vain for a majority to say goodbye to.
  const ends = await Promise.all(nodes.map((_, index) => downKafka({ dir: folderOf(dir, index + 1) })));
  return { stopped: ends.filter(({ stopped }) => stopped).length, killed: ends.filter(({ killed }) => killed).length };
}

export interface ClusterStatus {
  /** Whether any of its brokers runs. */
  readonly running: boolean;
  /** Whether all of them answer. */
  readonly answers: boolean;
  readonly transport: string;
  readonly dir: string;
  readonly brokers: readonly Awaited<ReturnType<typeof statusKafka>>[];
}

export async function statusCluster(options: { readonly dir: string }): Promise<ClusterStatus> {
  const dir = resolve(options.dir);
  const nodes = readState(dir)?.nodes ?? [];
  const brokers = await Promise.all(nodes.map((_, index) => statusKafka({ dir: folderOf(dir, index + 1) })));
  return {
    running: brokers.some(({ running }) => running),
    answers: brokers.every((broker) => broker.running && broker.answers),
    transport: transportOf(nodes),
    dir,
    brokers,
  };
}

const transportOf = (nodes: readonly Ports[]): string =>
  `kafka://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`;

function describe(dir: string, brokers: readonly Broker[]): Cluster {
  const hosts = brokers.map(({ transport }) => transport.slice('kafka://'.length));
  return { transport: `kafka://${hosts.join(',')}`, dir, brokers };
}

function upNode(dir: string, { clusterId, nodes }: State, node: number, options: Omit<UpOptions, 'dir'>) {
  const ports = nodes[node - 1];
  if (ports === undefined) throw new Error(`the cluster has no broker ${node}`);
  const voters = nodes.map(({ controllerPort }, index) => ({ id: index + 1, controllerPort }));
  return upKafka({ ...options, ...ports, dir: folderOf(dir, node), member: { id: node, clusterId, voters } });
}

/** The cluster as it was, or a new one. */
async function stateOf(dir: string, brokers: number): Promise<State> {
  const before = readState(dir);
  const found = before?.nodes.length ?? (existsSync(join(dir, 'data')) ? 1 : null);
  if (found !== null && found !== brokers) throw otherSize(dir, found, brokers);
  if (before !== null && (await canStand(dir, before))) return before;
  const ports = await freePorts(2 * brokers);
  const nodes = Array.from({ length: brokers }, (_, index) => ({
    port: ports[2 * index] ?? 0,
    controllerPort: ports[2 * index + 1] ?? 0,
  }));
  const state: State = { clusterId: before?.clusterId ?? newClusterId(), nodes };
  writeAtomically(join(dir, 'cluster.json'), `${JSON.stringify(state)}\n`);
  return state;
}

/** Whether some of it runs, or all of its ports are free. */
async function canStand(dir: string, { nodes }: State): Promise<boolean> {
  if ((await statusCluster({ dir })).running) return true;
  const free = await Promise.all(nodes.flatMap(({ port, controllerPort }) => [isFree(port), isFree(controllerPort)]));
  return free.every(Boolean);
}

/** A topic gets its replicas only from brokers that are known where it is made. */
async function untilAllKnow(dir: string, { nodes }: State): Promise<void> {
  const deadline = Date.now() + JOIN_PATIENCE_MS;
  for (;;) {
    const known = await Promise.all(nodes.map(async ({ port }) => (await askCluster(port))?.brokers ?? 0));
    if (known.every((count) => count === nodes.length)) return;
    if (Date.now() > deadline)
      throw new Fault({
        code: 'kafka-start',
        received: `brokers that know of ${known.join(', ')} brokers after ${JOIN_PATIENCE_MS / 1000} s`,
        expected: `a cluster of ${nodes.length}`,
        remedy: `see broker.log in each folder of ${dir}`,
      });
    await sleep(100);
  }
}

const otherSize = (dir: string, found: number, wanted: number): Fault =>
  new Fault({
    code: 'cluster-size',
    received: `${dir}, which holds ${found === 1 ? 'a single broker' : `a cluster of ${found}`}`,
    expected: `an empty folder, or one of ${wanted} brokers`,
    remedy: 'choose another --dir or another number of --brokers',
    exit: 2,
  });
