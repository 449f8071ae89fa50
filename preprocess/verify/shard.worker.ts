// The pool's task: checks one shard.

export { checkShard as default } from './shard.ts';
