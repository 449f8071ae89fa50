// RandomResizedCrop (Szegedy 2015, "Going Deeper with Convolutions", §6), with torchvision's rules, from tables.

import { type Draws, exp, ln } from '#shards';

/** A rectangle of the stored image, px. */
export interface CropBox {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export interface CropOptions {
  /** Share of the image's area. */
  readonly scale: readonly [number, number];
  /** Width over height, drawn log-uniformly. */
  readonly ratio: readonly [number, number];
}

const RATIO_STEPS = 4096;

function ratioTable([low, high]: readonly [number, number]): Float64Array {
  const from = ln(low);
  const span = ln(high) - from;
  return Float64Array.from({ length: RATIO_STEPS + 1 }, (_, i) => exp(from + (span * i) / RATIO_STEPS));
}

/** Ten tries, then the largest central box within the ratio's bounds. Width and height are of the stored image, px. */
export function randomResizedCrop({
  scale,
  ratio,
}: CropOptions): (width: number, height: number, draws: Draws) => CropBox {
  const ratios = ratioTable(ratio);
  return (width, height, draws) => {
    const area = width * height;
    for (let attempt = 0; attempt < 10; attempt++) {
      const target = area * (scale[0] + (scale[1] - scale[0]) * draws.uniform());
      const aspect = ratios[draws.below(RATIO_STEPS + 1)] as number;
      const w = Math.round(Math.sqrt(target * aspect));
      const h = Math.round(Math.sqrt(target / aspect));
      if (w > 0 && h > 0 && w <= width && h <= height)
        return { x: draws.below(width - w + 1), y: draws.below(height - h + 1), width: w, height: h };
    }
    const aspect = width / height;
    const w = aspect > ratio[1] ? Math.round(height * ratio[1]) : width;
    const h = aspect < ratio[0] ? Math.round(width / ratio[0]) : height;
    return { x: Math.floor((width - w) / 2), y: Math.floor((height - h) / 2), width: w, height: h };
  };
}
