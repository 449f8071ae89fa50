// Zero-init of each block's last BatchNorm gamma: a block starts as its shortcut alone (Goyal 2017, §5.1).

/** Where the gamma of a block's last norm starts; every other norm's starts at 1. */
export function firstLastGamma(zeroInitGamma: boolean): 0 | 1 {
  return zeroInitGamma ? 0 : 1;
}
