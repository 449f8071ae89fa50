// Whether topics that exist keep what a run needs: what is wrong, what is only less safe, and the command that mends it.

import type { Admin, ITopicConfig } from 'kafkajs';
import { Fault } from '#shards';

/** What the cluster tells of a topic that is there. */
export interface TopicState {
  readonly topic: string;
  /** Of the partition that has the fewest. */
  readonly replicas: number;
  readonly settings: ReadonlyMap<string, string>;
}

interface Finding {
  readonly setting: string;
  readonly found: string;
  readonly wanted: string;
  /** The run would work, but an ending machine may take more with it than was asked for. */
  readonly lessSafe: boolean;
}

/** Kafka's number of the resource type TOPIC; kafkajs' own enum would load the library here. */
export const TOPIC_RESOURCE = 2;

const ASKED = [
  'cleanup.policy',
  'compression.type',
  'max.message.bytes',
  'min.insync.replicas',
  'retention.bytes',
  'retention.ms',
  'segment.bytes',
  'unclean.leader.election.enable',
];

/** All topics in one question each of their settings and of their replicas. */
export async function statesOf(admin: Admin, topics: readonly string[]): Promise<TopicState[]> {
  const resources = topics.map((name) => ({ type: TOPIC_RESOURCE, name, configNames: ASKED }));
  const described = await admin.describeConfigs({ includeSynonyms: false, resources });
  const metadata = await admin.fetchTopicMetadata({ topics: [...topics] });
  return topics.map((topic) => {
    const entries = described.resources.find(({ resourceName }) => resourceName === topic)?.configEntries ?? [];
    const partitions = metadata.topics.find(({ name }) => name === topic)?.partitions ?? [];
    return {
      topic,
      replicas: Math.min(...partitions.map(({ replicas }) => replicas.length)),
      settings: new Map(entries.map(({ configName, configValue }) => [configName, configValue])),
    };
  });
}

export interface Verdict {
  /** Null where nothing is wrong. */
  readonly fault: Fault | null;
  /** Topics that are kept less safely than asked for, each with what and how. */
  readonly lessSafe: ReadonlyMap<string, string>;
}

/** `broker`: HOST:PORT for the command of the remedy. */
export function judgeTopics(wanted: readonly ITopicConfig[], states: readonly TopicState[], broker: string): Verdict {
  const wrong: string[] = [];
  const commands: string[] = [];
  const lessSafe = new Map<string, string>();
  for (const config of wanted) {
    const state = states.find(({ topic }) => topic === config.topic);
    if (state === undefined) continue;
    const findings = findingsOf(config, state);
    const bad = findings.filter((finding) => !finding.lessSafe);
    const poor = findings.filter((finding) => finding.lessSafe);
    if (poor.length > 0) lessSafe.set(state.topic, poor.map(inWords).join(', '));
    if (bad.length === 0) continue;
    wrong.push(`'${state.topic}' ${bad.map(inWords).join(', ')}`);
    const settings = bad.map(({ setting, wanted }) => `${setting}=${wanted}`).join(',');
    commands.push(
      `kafka-configs.sh --bootstrap-server ${broker} --alter --entity-type topics --entity-name ${state.topic} --add-config ${settings}`,
    );
  }
  return { fault: wrong.length === 0 ? null : topicSettings(wrong.join('; '), commands.join('; ')), lessSafe };
}

function findingsOf({ configEntries = [], replicationFactor = 1 }: ITopicConfig, state: TopicState): Finding[] {
  const { settings, replicas } = state;
  const found = (setting: string) => settings.get(setting) ?? '';
  const wanted = (setting: string) => configEntries.find(({ name }) => name === setting)?.value ?? '';
  const findings: Finding[] = [];
  const look = (setting: string, amiss: boolean, lessSafe = false, want = wanted(setting)) => {
    if (amiss) findings.push({ setting, found: found(setting), wanted: want, lessSafe });
  };
  const below = (setting: string, least: string) => Number(found(setting)) < Number(least);
  const deletes = found('cleanup.policy').includes('delete');
  look('cleanup.policy', found('cleanup.policy') !== wanted('cleanup.policy'));
  look('retention.ms', deletes && found('retention.ms') !== '-1');
  // A backstop that is too low is raised, not refused.
  look('retention.bytes', deletes && wanted('retention.bytes') === '-1' && found('retention.bytes') !== '-1');
  look('max.message.bytes', below('max.message.bytes', wanted('max.message.bytes')));
  look('segment.bytes', below('segment.bytes', wanted('max.message.bytes')));
  // What a broker compresses anew costs it the time, and kafkajs cannot read most of it.
  look('compression.type', !['uncompressed', 'producer'].includes(found('compression.type')));
  const insync = Number(found('min.insync.replicas'));
  const mostInsync = String(Math.max(1, replicas - 1));
  // More than there are: no append is ever acknowledged.
  look('min.insync.replicas', insync > replicas, false, mostInsync);
  look('min.insync.replicas', below('min.insync.replicas', wanted('min.insync.replicas')), true);
  look(
    'unclean.leader.election.enable',
    replicas > 1 && found('unclean.leader.election.enable') === 'true',
    true,
    'false',
  );
  if (replicas < replicationFactor) {
    findings.push({
      setting: 'replication',
      found: String(replicas),
      wanted: String(replicationFactor),
      lessSafe: true,
    });
  }
  return findings;
}

const inWords = ({ setting, found, wanted }: Finding): string => `${setting}=${found} (wanted ${wanted})`;

const topicSettings = (received: string, remedy: string): Fault =>
  new Fault({ code: 'topic-settings', received, expected: 'topics that keep what the run needs', remedy });
