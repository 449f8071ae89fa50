// From a measured run to ImageNet-1k on more cores: an extrapolation, and never more than that.

export const IMAGENET_IMAGES = 1_281_167 + 50_000;

export interface Sample {
  readonly images: number;
  /** From the start of the workers to the end. */
  readonly seconds: number;
  /** CPU time of the packer: of all its threads, and of the main thread, of which there is but one. */
  readonly processSeconds: number;
  readonly mainThreadSeconds: number;
}

export interface Share {
  /** CPU seconds of the start, before the first image. */
  readonly startSeconds: number;
  /** ms of the main thread an image, at least 0, which noise may go below. */
  readonly serialMs: number;
  /** CPU seconds a second. */
  readonly busyCores: number;
}

/** From a small and a large run: their difference leaves the start of the program out. */
export function shareOf(small: Sample, large: Sample): Share {
  const images = large.images - small.images;
  const cpu = large.processSeconds - small.processSeconds;
  return {
    startSeconds: Math.max(0, small.processSeconds - (cpu / images) * small.images),
    serialMs: 1000 * Math.max(0, (large.mainThreadSeconds - small.mainThreadSeconds) / images),
    busyCores: cpu / (large.seconds - small.seconds),
  };
}

export interface Extrapolation {
  readonly cores: number;
  readonly imagesPerSecond: number;
  readonly hours: number;
  /** What keeps it from more: the cores, or the one thread that hands out the work. */
  readonly bound: 'cores' | 'main thread';
}

/**
 * Cores add up until the main thread is busy all the time (Amdahl): beyond, only `--part` helps, which runs several.
 * Disk, memory bandwidth, clock and SMT are left out, so more cores than were measured will give less than this.
 */
export function extrapolate(cores: number, perCore: number, serial: number): Extrapolation {
  const limit = serial > 0 ? 1000 / serial : Number.POSITIVE_INFINITY;
  const imagesPerSecond = Math.min(cores * perCore, limit);
  const hours = IMAGENET_IMAGES / imagesPerSecond / 3600;
  return { cores, imagesPerSecond, hours, bound: cores * perCore <= limit ? 'cores' : 'main thread' };
}
