// Topics in Kafka's terms: the settings of a new one, and what the cluster tells of one that is there.

import type { Admin, ITopicConfig } from 'kafkajs';
import { failureOf } from './kafka-client.ts';
import { TOPIC_RESOURCE, type TopicState } from './kafka-topic-check.ts';
import type { Extent, TopicSpec } from './transport.ts';

/** What a record takes in a batch beyond its value: batch header 61, record header up to 30, key up to 512 bytes. */
const RECORD_OVERHEAD = 1024;
const MIB = 2 ** 20;

export function topicConfig(spec: TopicSpec, replicas: number): ITopicConfig {
  const { name, partitions, retention, maxRecordBytes } = spec;
  const maxBytes = typeof retention === 'object' ? retention.maxBytes : null;
  const maxMessage = maxRecordBytes + RECORD_OVERHEAD;
  const settings = {
    'cleanup.policy': retention === 'compact' ? 'compact' : 'delete',
    'compression.type': 'uncompressed',
    'max.message.bytes': maxMessage,
    'min.insync.replicas': Math.max(1, replicas - 1),
    'retention.ms': -1,
    'retention.bytes': maxBytes === null ? -1 : Math.max(maxBytes, 2 * maxMessage),
    'segment.bytes': Math.max(segmentBytes(retention), maxMessage),
  };
  return {
    topic: name,
    numPartitions: partitions,
    replicationFactor: replicas,
    configEntries: Object.entries(settings).map(([key, value]) => ({ name: key, value: String(value) })),
  };
}

/**
 * Only whole segments are deleted and only closed ones compacted: an eighth of the window (which is half the backstop)
 * where there is one, small where compaction should come soon.
 */
function segmentBytes(retention: TopicSpec['retention']): number {
  if (retention === 'compact') return 4 * MIB;
  if (retention === 'forever') return 64 * MIB;
  return Math.floor(Math.min(Math.max(retention.maxBytes / 16, 16 * MIB), 1024 * MIB));
}

/**
 * Raises a topic's size backstop where it is lower than wanted. All settings are sent, as Kafka's AlterConfigs sets
 * those that are missing back to their defaults; how many replicas must be in sync is left to who made the topic.
 */
export async function raiseBackstop(
  admin: Admin,
  { topic, configEntries = [] }: ITopicConfig,
  state: TopicState,
): Promise<void> {
  const wanted = Number(configEntries.find(({ name }) => name === 'retention.bytes')?.value);
  const found = Number(state.settings.get('retention.bytes'));
  if (found < 0 || found >= wanted) return;
  const entries = configEntries.map((entry) =>
    entry.name === 'min.insync.replicas' ? { ...entry, value: state.settings.get(entry.name) ?? entry.value } : entry,
  );
  const resource = { type: TOPIC_RESOURCE, name: topic, configEntries: entries };
  await admin.alterConfigs({ validateOnly: false, resources: [resource] });
}

/** Null where there is no such topic; `led` when each partition has a leader. */
export async function describe(admin: Admin, topic: string): Promise<{ partitions: number; led: boolean } | null> {
  try {
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
    const partitions = topics[0]?.partitions ?? [];
    return { partitions: partitions.length, led: partitions.every(({ leader }) => leader >= 0) };
  } catch (error) {
    if (failureOf(error).type === 'UNKNOWN_TOPIC_OR_PARTITION') return null;
    throw error;
  }
}

/** By partition number, which kafkajs' answers are not sorted by. */
export function extentsOf(offsets: readonly { partition: number; low: string; high: string }[]): Extent[] {
  return offsets
    .toSorted((a, b) => a.partition - b.partition)
    .map(({ low, high }) => ({ begin: Number(low), end: Number(high) }));
}
