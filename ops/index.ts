// The door of ops: what tests and other commands may use of it.

export { type Broker, downKafka, type KafkaStatus, statusKafka, type UpOptions, upKafka } from './kafka/broker.ts';
export { cacheRoot, nativeState } from './setup/plain.ts';
