// Which lanes a reader has: rank r of n reads lanes [r·L/n, (r+1)·L/n), so that any divisor of L readers share one stream.

import { Fault } from '#shards';
import type { Plan } from './plan.ts';

/** @throws Fault `ranks-uneven`, `rank-out-of-range` */
export function lanesOfRank({ lanes }: Pick<Plan, 'lanes'>, rank: number, ranks: number): number[] {
  if (!Number.isInteger(ranks) || ranks < 1 || lanes % ranks !== 0) {
    const divisors = Array.from({ length: lanes }, (_, i) => i + 1).filter((n) => lanes % n === 0);
    throw new Fault({
      code: 'ranks-uneven',
      received: `${ranks} ranks for ${lanes} lanes`,
      expected: `a number of ranks that divides the lanes: ${divisors.join(', ')}`,
      remedy: 'correct --ranks',
      exit: 2,
    });
  }
  if (!Number.isInteger(rank) || rank < 0 || rank >= ranks)
    throw new Fault({
      code: 'rank-out-of-range',
      received: `rank ${rank} of ${ranks}`,
      expected: `a rank in 0 … ${ranks - 1}`,
      remedy: 'correct --rank',
      exit: 2,
    });
  const each = lanes / ranks;
  return Array.from({ length: each }, (_, i) => rank * each + i);
}
