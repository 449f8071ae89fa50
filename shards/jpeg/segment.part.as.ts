// The scan's segments between restart markers, one after the other, without what is stuffed in.

import { scanEnd, scanStart } from './header.part.as';

/** Room below the unstuffed scan. No MCU is longer (6 blocks of 64 coefficients of 31 bits: 1,488 bytes), and where the
 * scan ends is looked at between MCUs only. */
const GUARD: i32 = 4096;

/** The segment that is read: its bytes backwards below `top`, so that a load of eight has the next bits at its top. */
export let top: usize = 0;
export let segmentBits: u32 = 0;
/** Where in the file the segment's marker is. */
export let markerAt: usize = 0;

/** Bytes that decode() needs as `scratch` for a scan of so many. */
export function scratchBytes(scan: i32): i32 {
  return scan + GUARD;
}

/** Begins with the scan's first segment, in the bytes from `scratch` on. */
export function firstSegment(scratch: usize): void {
  top = scratch + <usize>scratchBytes(<i32>(scanEnd - scanStart));
  unstuff(scanStart);
}

/** Copies the bytes from `from` to the next marker below `top`, without what is stuffed in. */
function unstuff(from: usize): void {
  const end = scanEnd;
  const ones = i8x16.splat(-1);
  let p = from;
  let to = top;
  for (;;) {
    while (p + 16 <= end) {
      const bytes = v128.load(p);
      v128.store(to - 16, v128.shuffle<i8>(bytes, bytes, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
      const mask = i8x16.bitmask(i8x16.eq(bytes, ones));
      if (mask) {
        const plain = <usize>ctz(mask);
        p += plain;
        to -= plain;
        break;
      }
      p += 16;
      to -= 16;
    }
    // Here, or within the last 16 bytes: one byte at a time.
    if (p >= end) break;
    const byte = load<u8>(p);
    if (byte === 0xff) {
      let next = p + 1;
      while (next < end && load<u8>(next) === 0xff) next++;
      if (next >= end || load<u8>(next) !== 0) break;
      p = next;
    }
    p++;
    to--;
    store<u8>(to, byte);
  }
  markerAt = p;
  segmentBits = (<u32>(top - to)) << 3;
}

/** Goes on behind the restart marker number `index`, which must be next. */
export function nextSegment(index: i32): bool {
  let p = markerAt;
  while (p < scanEnd && load<u8>(p) === 0xff) p++;
  if (p === markerAt || p >= scanEnd || <i32>load<u8>(p) !== 0xd0 + (index & 7)) return false;
  unstuff(p + 1);
  return true;
}
