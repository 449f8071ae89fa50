// Where a producer's time went: ms an image in each stage, and the stage that bounds it.

import type { PoolCounters } from './pool.ts';

const POOL_STAGES = ['read', 'decode', 'kernel'] as const;
export type Stage = (typeof POOL_STAGES)[number] | 'append' | 'wait';

/** Milliseconds, all workers (read, decode, kernel) or all lanes (append, wait) added up. */
export type StageSums = Pick<PoolCounters, (typeof POOL_STAGES)[number] | 'images'> & {
  readonly append: number;
  readonly wait: number;
};

export interface StageReport {
  readonly msPerImage: Readonly<Record<Stage, number>>;
  /** Share of the time, 0 … 1, that the workers worked, and that the lanes were in an append or waited for the window. */
  readonly busy: { readonly workers: number; readonly append: number; readonly wait: number };
  /** Of what was busiest, the longest stage. */
  readonly boundBy: Stage;
}

/** What was added from `before` to `now`, both sums of the same run. */
export function sumsSince(before: StageSums, now: StageSums): StageSums {
  const since = (name: keyof StageSums) => now[name] - before[name];
  return {
    images: since('images'),
    read: since('read'),
    decode: since('decode'),
    kernel: since('kernel'),
    append: since('append'),
    wait: since('wait'),
  };
}

/** Null without images. */
export function stageReport(
  sums: StageSums,
  { workers, lanes, seconds }: { readonly workers: number; readonly lanes: number; readonly seconds: number },
): StageReport | null {
  if (sums.images === 0) return null;
  const { read, decode, kernel, append, wait } = sums;
  const share = (ms: number, of: number) => Math.min(1, ms / (of * seconds * 1000));
  const busy = {
    workers: share(read + decode + kernel, workers),
    append: share(append, lanes),
    wait: share(wait, lanes),
  };
  const longest = POOL_STAGES.reduce((a, b) => (sums[b] > sums[a] ? b : a));
  const boundBy =
    busy.wait > Math.max(busy.workers, busy.append) ? 'wait' : busy.append > busy.workers ? 'append' : longest;
  const perImage = (ms: number) => ms / sums.images;
  return {
    msPerImage: {
      read: perImage(read),
      decode: perImage(decode),
      kernel: perImage(kernel),
      wait: perImage(wait),
      append: perImage(append),
    },
    busy,
    boundBy,
  };
}

/** The report in one line, with what it says about the trainer. */
export function stageLine({ msPerImage, busy, boundBy }: StageReport): string {
  const stages = Object.entries(msPerImage).map(([stage, ms]) => `${stage} ${ms.toFixed(3)}`);
  const percent = (share: number) => `${Math.round(100 * share)} %`;
  const reason =
    boundBy === 'wait'
      ? `the window was full ${percent(busy.wait)} of the time, so trainers are not starved`
      : boundBy === 'append'
        ? `lanes were appending ${percent(busy.append)} of the time: a faster log or more lanes`
        : `workers were busy ${percent(busy.workers)} of the time: more workers or cores`;
  return `ms an image: ${stages.join(', ')}; bounded by ${boundBy} (${reason})`;
}
