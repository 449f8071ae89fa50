// What a model is to the rest: its parameters by name, and a forward pass that is pure in them.

import type { ModelRecipe } from '#stream';
import type { NamedTensors, Tensor2D, Tensor4D } from '../backend/kernels.ts';
import type { Ops } from '../backend/ops.ts';

export type ParameterKind = 'conv' | 'norm-weight' | 'norm-bias' | 'fc-weight' | 'fc-bias';

export interface Parameter {
  /** PyTorch's: torchvision's ResNet, or antialiased-cnns' where a blur shifts the indexes. */
  readonly name: string;
  readonly kind: ParameterKind;
  /** In memory: HWIO for convolutions, [in, out] for fc, [channels] else. */
  readonly shape: readonly number[];
  /** In files: OIHW, [out, in], [channels]. */
  readonly torchShape: readonly number[];
  readonly start: Start;
}

/** The distribution of a parameter's first values. */
export type Start =
  | { readonly kind: 'normal'; readonly deviation: number }
  | { readonly kind: 'uniform'; readonly bound: number }
  | { readonly kind: 'constant'; readonly value: number };

/** BatchNorm's running mean or variance. */
export interface Statistic {
  readonly name: string;
  readonly kind: 'mean' | 'variance';
  readonly channels: number;
}

/**
 * `train`: norms use the batch's statistics. `inference`: the running ones. `fixres`: the last norm as in training,
 * all before it as in inference.
 */
export type Mode = 'train' | 'inference' | 'fixres';

/** One forward pass: where it is computed, with which values, and what it found. */
export interface Pass {
  readonly ops: Ops;
  /** By parameter name; any values, so that SAM's second pass runs on w + e while w stays as it is. */
  readonly weights: Readonly<NamedTensors>;
  readonly statistics: Readonly<NamedTensors>;
  readonly mode: Mode;
  /** Filled by the pass with the batch's mean and unbiased variance, under the running statistics' names. */
  readonly batchStatistics: NamedTensors;
}

export interface Model {
  readonly recipe: ModelRecipe;
  readonly classes: number;
  /** In PyTorch's order of modules. */
  readonly parameters: readonly Parameter[];
  readonly statistics: readonly Statistic[];
  /** Names of everything that a checkpoint holds, parameters and statistics, in PyTorch's order. */
  readonly stateNames: readonly string[];
  /** Names of the BlurPool layers: one at the stem, and two in every block that strides. */
  readonly blurs: readonly string[];
  /** Module name of the last norm, `layer4.2.bn3` in ResNet-50. */
  readonly lastNorm: string;
  /** Normalised images [n, size, size, 3] → logits [n, classes]. */
  forward(pass: Pass, images: Tensor4D): Tensor2D;
}
