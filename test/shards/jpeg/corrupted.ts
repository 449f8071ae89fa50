// Damage to a JPEG, drawn from a seed.

import { segmentAt } from './segments.ts';

/** xorshift32: the same files in each run. */
export function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** Bytes changed, bits turned, pieces cut out or doubled, the end cut off. */
export function corrupted(jpeg: Buffer, draw: (below: number) => number): Buffer {
  let bytes = Buffer.from(jpeg);
  // In half of the files the scan alone suffers; in the others the headers, too, where sizes and tables are.
  const scan = segmentAt(jpeg, 0xda).start + 14;
  const headers = draw(2) === 0;
  for (let times = 1 + draw(4); times > 0 && bytes.length > 2; times--) {
    const at = headers ? draw(bytes.length) : scan + draw(Math.max(1, bytes.length - scan));
    const length = draw(12);
    const kind = draw(8);
    if (kind < 3) bytes[at] = draw(256);
    else if (kind < 5) bytes[at] = (bytes[at] as number) ^ (1 << draw(8));
    else if (kind === 5) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
    else if (kind === 6) bytes = Buffer.concat([bytes.subarray(0, at + length), bytes.subarray(at)]);
    else bytes = bytes.subarray(0, at);
  }
  return bytes;
}
