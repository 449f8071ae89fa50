// Kafka's jars: from Maven Central by `mvn` into the cache, complete and with the pinned sha256 before they count.

import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Fault } from '#shards';
import { cacheRoot, packageRoot, sha256, temporary, withLock } from '../setup/plain.ts';

export const KAFKA_VERSION = '4.3.1';

/** Maven may have to fetch its own plugins and 44 MB over a slow line. */
const MAVEN_PATIENCE_MS = 15 * 60_000;

const run = promisify(execFile);

/** A file of ops/kafka in the source tree; it is not compiled and so not in dist/. */
export const asset = (name: string): string => fileURLToPath(new URL(`ops/kafka/${name}`, packageRoot));

/** Jars that are fetched together, into a folder of their own: by which pom, and pinned where. */
interface JarSet {
  readonly name: string;
  readonly what: string;
  readonly pom: string;
  readonly pins: string;
}

const BROKER: JarSet = {
  name: `kafka-${KAFKA_VERSION}`,
  what: `Apache Kafka ${KAFKA_VERSION} with mvn (44 MB`,
  pom: 'pom.xml',
  pins: 'jars.sha256',
};

/** For benchmarks; a broker needs none of it. */
const TOOLS: JarSet = {
  name: `kafka-tools-${KAFKA_VERSION}`,
  what: `Kafka's performance tools ${KAFKA_VERSION} with mvn (1 MB`,
  pom: 'tools.xml',
  pins: 'tools.sha256',
};

/** Jar name → sha256 in hex, as the set's file pins them. */
export function pinnedJars({ pins }: JarSet = BROKER): Map<string, string> {
  const lines = readFileSync(asset(pins), 'utf8').trim().split('\n');
  return new Map(lines.map((line) => [line.slice(66), line.slice(0, 64)]));
}

/** First difference between a folder and the pinned jars, or null. Hashes all 44 MB: less than 0.1 s. */
export async function difference(folder: string, set: JarSet = BROKER): Promise<string | null> {
  const names = await readdir(folder).catch(() => null);
  if (names === null) return 'there are no jars';
  const pinned = pinnedJars(set);
  const foreign = names.find((name) => name.endsWith('.jar') && !pinned.has(name));
  if (foreign !== undefined) return `${foreign} does not belong there`;
  for (const [name, hash] of pinned) {
    if (!names.includes(name)) return `${name} is missing`;
    if ((await sha256(join(folder, name))) !== hash) return `${name} has another sha256 than the pinned one`;
  }
  return null;
}

/** Folder of Kafka's jars in the cache. */
export const jarFolder = ({ name }: JarSet = BROKER): string => join(cacheRoot(), name);

/**
 * The class path of the broker; downloads the jars when the cache has not all of them as pinned.
 * Fault `maven-missing`, `kafka-download` or `kafka-jars`.
 */
export const ensureJars = (say: (line: string) => void): Promise<string> => ensure(BROKER, say);

/** The class path of ProducerPerformance and ConsumerPerformance, with the same Faults. */
export const ensureTools = async (say: (line: string) => void): Promise<string> =>
  [await ensure(TOOLS, say), await ensure(BROKER, say)].join(delimiter);

async function ensure(set: JarSet, say: (line: string) => void): Promise<string> {
  const folder = jarFolder(set);
  const wait = (pid: string) => say(`waiting for process ${pid}, which is downloading Kafka`);
  await withLock(join(cacheRoot(), 'locks', set.name), wait, async () => {
    const before = await difference(folder, set);
    if (before === null) return;
    say(`downloading ${set.what}; in the cache ${before})`);
    const tmp = temporary(cacheRoot());
    try {
      const fresh = join(tmp, 'jars');
      await download(fresh, set);
      const wrong = await difference(fresh, set);
      if (wrong !== null) {
        throw new Fault({
          code: 'kafka-jars',
          received: `mvn brought other jars: ${wrong}`,
          expected: `exactly those of ops/kafka/${set.pins}`,
          remedy: "check the mirror in Maven's settings.xml, or pin them anew as ops/kafka/README.md says",
        });
      }
      await rename(folder, join(tmp, 'old')).catch(() => undefined); // there may be none
      await rename(fresh, folder);
    } finally {
      await rm(tmp, { recursive: true, force: true });
    }
  });
  // An explicit list in a fixed order, not a wildcard: class data archives ask for it.
  return [...pinnedJars(set).keys()].map((name) => join(folder, name)).join(delimiter);
}

async function download(folder: string, { pom }: JarSet): Promise<void> {
  await mkdir(folder);
  const goal = ['dependency:copy-dependencies', '-DincludeScope=runtime', `-DoutputDirectory=${folder}`];
  try {
    await run('mvn', ['-B', '-ntp', '-q', '-f', asset(pom), ...goal], { timeout: MAVEN_PATIENCE_MS });
  } catch (error) {
    const { code, stdout = '' } = error as { code?: unknown; stdout?: string };
    if (code === 'ENOENT') {
      throw new Fault({
        code: 'maven-missing',
        received: 'no mvn on PATH, and no Kafka in the cache',
        expected: "Maven 3.6 or newer, to fetch Kafka's jars once",
        remedy: 'install it (Debian: maven; macOS: brew install maven), or use the embedded log (--transport log:DIR)',
      });
    }
    const line = stdout.split('\n').find((text) => text.startsWith('[ERROR]')) ?? `mvn ended with ${String(code)}`;
    throw new Fault({
      code: 'kafka-download',
      received: line.replace('[ERROR] ', ''),
      expected: `Kafka ${KAFKA_VERSION} from Maven Central or your mirror of it`,
      remedy: "check the network and Maven's settings.xml, and run the command again",
      cause: error,
    });
  }
}
