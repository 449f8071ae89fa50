// Which member of a group gets which partitions: one policy for both logs. A pure function.

/**
 * Every partition of [0, partitions) gets one member, no member gets two more than another, and as few as possible move.
 * `held`: member → what it holds until now; where two hold the same, one keeps it.
 */
export function shareOut(partitions: number, held: ReadonlyMap<string, readonly number[]>): Map<string, number[]> {
  // Those that hold most keep most: the odd partitions stay where they are.
  const members = [...held].toSorted(
    ([a, first], [b, second]) => second.length - first.length || (a < b ? -1 : a > b ? 1 : 0),
  );
  const least = Math.floor(partitions / members.length);
  const odd = partitions % members.length;
  const free = new Set(Array.from({ length: partitions }, (_, partition) => partition));
  const shares = new Map<string, number[]>();
  for (const [index, [member, holds]] of members.entries()) {
    const share: number[] = [];
    for (const partition of holds.toSorted((a, b) => a - b))
      if (share.length < least + (index < odd ? 1 : 0) && free.delete(partition)) share.push(partition);
    shares.set(member, share);
  }
  for (const [index, [member]] of members.entries()) {
    const share = shares.get(member) as number[];
    for (const partition of free) {
      if (share.length === least + (index < odd ? 1 : 0)) break;
      free.delete(partition);
      share.push(partition);
    }
    share.sort((a, b) => a - b);
  }
  return shares;
}
