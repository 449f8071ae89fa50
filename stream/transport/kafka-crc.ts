// Puts the native CRC32C into kafkajs, whose own, in JavaScript, takes 44 % of the CPU time of producing.

import type { createRequire } from 'node:module';
import { dirname, sep } from 'node:path';

type Require = ReturnType<typeof createRequire>;
type Checksum = (bytes: Buffer) => number;

const KAFKAJS_CRC = 'kafkajs/src/protocol/recordBatch/crc32C/index.js';
/** CRC-32C of the ASCII digits 1…9: the check value that every description of the polynomial gives (RFC 3720). */
const CHECK = { bytes: Buffer.from('123456789'), sum: 0xe3069283 };

const applied = new WeakSet<object>();

/**
 * Replaces the checksum in the module cache, so that the next `require('kafkajs')` finds it. kafkajs holds its checksum
 * from the moment it is loaded, so a copy that somebody else loaded before is left to them and ours is loaded anew.
 * @returns null when the native one is in place, else why kafkajs keeps its own: correct, but slower.
 */
export function useNativeCrc32c(require: Require): string | null {
  try {
    const path = require.resolve(KAFKAJS_CRC);
    const loaded = require.cache[path];
    if (loaded !== undefined && applied.has(loaded)) return null;
    const folder = dirname(require.resolve('kafkajs/package.json')) + sep;
    for (const cached of Object.keys(require.cache)) if (cached.startsWith(folder)) delete require.cache[cached];
    require(path);
    const slot = require.cache[path];
    if (slot === undefined) return 'kafkajs was not loaded through require';
    const native = require('@node-rs/crc32').crc32c as Checksum;
    const disagreement = compare(native, slot.exports as Checksum);
    if (disagreement !== null) return disagreement;
    slot.exports = (bytes: Buffer) => native(bytes) >>> 0;
    applied.add(slot);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Why the two checksums cannot stand for each other, or null: the check value, then lengths around the word sizes. */
export function compare(native: Checksum, original: Checksum): string | null {
  if (native(CHECK.bytes) >>> 0 !== CHECK.sum) return 'the native CRC32C fails its check value';
  const bytes = Buffer.from(Array.from({ length: 1031 }, (_, i) => (i * 167 + 13) & 255));
  for (const length of [0, 1, 3, 7, 8, 9, 63, 64, 65, 1031]) {
    const part = bytes.subarray(0, length);
    if (native(part) >>> 0 !== original(part) >>> 0) return `the native CRC32C differs at ${length} bytes`;
  }
  return null;
}
