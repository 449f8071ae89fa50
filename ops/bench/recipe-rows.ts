// The rows of `ops bench recipe`: a recipe as it is, and with each of its methods off (or, where it has none, on) in turn.

import type { Recipe } from '#stream';

export interface RecipeRow {
  readonly name: string;
  /** Settings that the stream depends on, as of `stream produce --set`. */
  readonly stream: readonly string[];
  /** Settings of training alone, as of `trainer consume --set`: rows without others share a stream. */
  readonly train: readonly string[];
  /** What is equal to the recipe and what is not, where the name does not tell. */
  readonly note: string | null;
}

/** The row that the others are compared with. */
export const WHOLE = 'the recipe';

/** Steps in which a value's share of the average halves, in the row with EMA: a quarter of the quickstart's FixRes phase. */
const HALF_LIFE_STEPS = 10;

/** One row for each method that the recipe has; EMA's stands the other way round where the recipe has none. */
export function rowsOf(recipe: Recipe): RecipeRow[] {
  const { model, sam, labelSmoothing, mixup, optimizer, augmentation, phases } = recipe;
  const rows: (RecipeRow | false)[] = [
    row(WHOLE),
    model.blurpool !== false && row('without BlurPool', { train: ['model.blurpool=false'] }),
    sam !== false && row('without SAM', { train: ['sam=false'], note: 'as many steps, about half the time' }),
    labelSmoothing > 0 && row('without label smoothing', { train: ['labelSmoothing=0'] }),
    optimizer.warmupEpochs > 0 && row('without warm-up', { train: ['optimizer.warmupEpochs=0'] }),
    model.zeroInitGamma && row('without zero-init gamma', { train: ['model.zeroInitGamma=false'] }),
    average(recipe),
    mixup !== false && row('without MixUp', { stream: ['mixup=false'] }),
    augmentation.scale[0] < 1 &&
      row('without random crops', {
        stream: ['augmentation.scale=[1, 1]', 'augmentation.ratio=[1, 1]'],
        note: 'always the whole central square; flips stay',
      }),
    resized(phases),
    fixres(phases),
  ];
  return rows.filter((each) => each !== false);
}

function row(name: string, settings: Partial<RecipeRow> = {}): RecipeRow {
  return { name, stream: [], train: [], note: null, ...settings };
}

function average({ ema, phases }: Recipe): RecipeRow {
  if (ema) return row('without EMA', { train: ['ema=false'] });
  const images = HALF_LIFE_STEPS * (phases.at(-1)?.batch ?? 0);
  return row('with EMA', { train: [`ema={halfLifeImages: ${images}}`], note: `half-life ${images} images` });
}

function resized(phases: Recipe['phases']): RecipeRow | false {
  const last = phases.at(-1)?.resolution ?? 0;
  const pixels = (sideOf: (side: number) => number) =>
    phases.reduce((sum, { epochs, resolution }) => sum + epochs * sideOf(resolution) ** 2, 0);
  const factor = pixels(() => last) / pixels((side) => side);
  return (
    phases.some(({ resolution }) => resolution !== last) &&
    row('without progressive resizing', {
      stream: phases.map((_, i) => `phases.${i}.resolution=${last}`),
      note: `all phases at ${last} px: the same images, steps and rates, ${factor.toFixed(1)} times the pixels`,
    })
  );
}

function fixres(phases: Recipe['phases']): RecipeRow | false {
  const at = phases.findIndex((phase) => phase.fixres);
  const phase = phases[at];
  if (!phase) return false;
  const { resolution, epochs, batch } = phase;
  return row('without FixRes', {
    stream: [`phases.${at}={resolution: ${resolution}, epochs: ${epochs}, batch: ${batch}}`],
    note: `its ${epochs} epochs at ${resolution} px train all weights with every other method; the same images, the schedule spans them`,
  });
}
