// Weight decay by group: which parameters are pulled towards zero.

import type { OptimizerRecipe } from '#stream';
import type { Parameter } from '../../model/model.ts';

/** `weights`: convolutions' and fc's weights, so neither norms nor biases; `all`: every parameter. */
export function decays({ kind }: Pick<Parameter, 'kind'>, decay: OptimizerRecipe['decay']): boolean {
  return decay === 'all' || kind === 'conv' || kind === 'fc-weight';
}
