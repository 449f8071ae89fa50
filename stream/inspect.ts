// An augmented batch as a picture: what the trainer sees, tile by tile, lane after lane.

import { contactSheet, Fault, type Tile, writeImage } from '#shards';
import { Consumer, type LaneStep } from './consumer.ts';
import { openLedgers } from './ledger.ts';
import type { RunMeta } from './meta.ts';
import { imageBytes, placeOf } from './plan.ts';
import type { Transport } from './transport/transport.ts';

export interface TileLabel {
  readonly labelA: string;
  readonly labelB: string;
  readonly lam: number;
}

/** Writes a PNG of step `step`, at most 64 tiles, and returns their labels in row order. */
export async function inspectStep(
  transport: Transport,
  run: string,
  meta: RunMeta,
  step: number,
  file: string,
): Promise<TileLabel[]> {
  const { plan, dataset } = meta;
  const lanes = Array.from({ length: plan.lanes }, (_, lane) => lane);
  await checkProduced(transport, run, lanes, step);
  const consumer = await Consumer.open({ transport, run, meta, lanes, fromStep: step, prefetchBytes: 0 });
  let steps: LaneStep[] | null;
  try {
    steps = await consumer.next();
  } finally {
    await consumer.close();
  }
  const side = placeOf(plan, step).phase.resolution;
  const tiles: Tile[] = [];
  const labels: TileLabel[] = [];
  for (const { images, labelA, labelB, lam } of (steps ?? []).flatMap(({ chunks }) => chunks))
    for (let i = 0; i < labelA.length && tiles.length < 64; i++) {
      tiles.push({ pixels: images.subarray(i * imageBytes(side), (i + 1) * imageBytes(side)) });
      const name = (label: number) => dataset.classes[label]?.name ?? dataset.classes[label]?.wnid ?? String(label);
      labels.push({ labelA: name(labelA[i] ?? -1), labelB: name(labelB[i] ?? -1), lam: lam[i] ?? 1 });
    }
  await writeImage(file, await contactSheet(tiles, side));
  return labels;
}

/** A reader would wait for a step that nobody has produced; a person who asks for a picture should not. */
async function checkProduced(transport: Transport, run: string, lanes: readonly number[], step: number): Promise<void> {
  const { ledgers, close } = await openLedgers(transport, run, lanes);
  await close();
  const complete = Math.min(...[...ledgers.values()].map(({ highestStep }) => highestStep)) + 1;
  if (step >= complete)
    throw new Fault({
      code: 'step-not-produced',
      received: `step ${step}`,
      expected: `one of the ${complete} steps that every lane has so far`,
      remedy: 'wait for the producer, or ask for an earlier step',
    });
}
