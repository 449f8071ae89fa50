// The door of ops: what tests and other commands may use of it.

export {
  type Broker,
  downKafka,
  type KafkaStatus,
  killKafka,
  statusKafka,
  type UpOptions,
  upKafka,
} from './kafka/broker.ts';
export { type Cluster, downCluster, killMember, upCluster, upMember } from './kafka/cluster.ts';
export { cacheRoot, nativeState } from './setup/plain.ts';
