// A pool's task for tests: says that it began, works for a while without yielding, answers what it was given.

export default function work({ begun, ms, value }: { begun: SharedArrayBuffer; ms: number; value: number }): number {
  Atomics.add(new Int32Array(begun), 0, 1);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
  if (value < 0) throw new Error(`value ${value}`);
  Atomics.add(new Int32Array(begun), 1, 1);
  return value;
}
