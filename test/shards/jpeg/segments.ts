// Where a JPEG's marker segments lie.

/** The first segment of `marker` (0xc0 for SOF0): where its 0xff is, and its bytes with marker and length. */
export function segmentAt(jpeg: Buffer, marker: number): { start: number; length: number } {
  for (let start = 2; start + 4 <= jpeg.length; ) {
    const length = 2 + jpeg.readUInt16BE(start + 2);
    if (jpeg[start + 1] === marker) return { start, length };
    start += length;
  }
  throw new Error(`no segment ${marker.toString(16)}`);
}
