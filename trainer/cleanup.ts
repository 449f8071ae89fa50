// Cleaning up without hiding why: what `finally` alone would do, but an error in it would replace the first.

/**
 * Does the work and then, whatever came of it, every cleaner in order.
 * @throws what failed first; a later failure is most often its consequence.
 */
export async function withCleanup<Value>(
  work: () => Promise<Value>,
  ...cleaners: readonly (() => Promise<void>)[]
): Promise<Value> {
  const [outcome] = await Promise.allSettled([work()]);
  const ends: PromiseSettledResult<void>[] = [];
  for (const clean of cleaners) ends.push(...(await Promise.allSettled([clean()])));
  if (outcome.status === 'rejected') throw outcome.reason;
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
  return outcome.value;
}
