// ResNet (He 2015) with bottleneck or basic blocks, of any depth and width, with BlurPool or without.
// Layout and names are torchvision's v1.5 (the stride sits on the 3×3 convolution); with BlurPool antialiased-cnns'.

import type { ModelRecipe } from '#stream';
import { named, type Tensor1D, type Tensor4D } from '../backend/kernels.ts';
import { blurPool, checkBlurs } from '../methods/blurpool/blurpool.ts';
import { firstLastGamma } from '../methods/zero-init-gamma/zero-init-gamma.ts';
import type { Model, Parameter, ParameterKind, Pass, Start, Statistic } from './model.ts';

type Layer = (pass: Pass, x: Tensor4D) => Tensor4D;

const EXPANSION = { bottleneck: 4, basic: 1 } as const;

export function buildModel(recipe: ModelRecipe, classes: number): Model {
  const { block, layers, width, blurpool, zeroInitGamma } = recipe;
  const builder = new Builder(blurpool, firstLastGamma(zeroInitGamma));
  const units = [builder.stem(width)];
  let input = width;
  layers.forEach((count, stage) => {
    const inner = width << stage;
    for (let i = 0; i < count; i++) {
      const stride = stage > 0 && i === 0 ? 2 : 1;
      units.push(builder.block(`layer${stage + 1}.${i}`, block, input, inner, stride));
      input = inner * EXPANSION[block];
    }
  });
  builder.dense('fc', input, classes);
  checkBlurs(blurpool, builder.blurs);
  const { parameters, statistics, stateNames, blurs, lastNorm } = builder;
  return {
    recipe,
    classes,
    parameters,
    statistics,
    stateNames,
    blurs,
    lastNorm,
    forward(pass, images) {
      const { ops, weights } = pass;
      let x = images;
      for (const unit of units) {
        const given = x;
        x = scoped(pass, () => unit(pass, given));
        if (given !== images) given.dispose();
      }
      const logits = ops.dense(ops.globalAverage(x), named(weights, 'fc.weight'), named(weights, 'fc.bias'));
      x.dispose();
      return logits;
    },
  };
}

/** Frees, when a unit ends, all that the tape did not save; the unit's result and the batch statistics outlive it. */
function scoped(pass: Pass, unit: () => Tensor4D): Tensor4D {
  return pass.ops.backend.tf.tidy(() => ({ y: unit(), batchStatistics: pass.batchStatistics })).y;
}

/** Declares parameters in PyTorch's order of modules, and returns the layers that use them. */
class Builder {
  readonly parameters: Parameter[] = [];
  readonly statistics: Statistic[] = [];
  readonly stateNames: string[] = [];
  readonly blurs: string[] = [];
  lastNorm = '';
  readonly #filter: number | false;
  /** Where each block's last gamma starts. */
  readonly #lastGamma: number;

  constructor(filter: number | false, lastGamma: number) {
    this.#filter = filter;
    this.#lastGamma = lastGamma;
  }

  /** 7×7 stride 2, then a max-pool of stride 2; with BlurPool the max-pool is dense (2×2 stride 1) and a blur strides. */
  stem(width: number): Layer {
    const conv = this.#conv('conv1', 7, 3, width, 2);
    const norm = this.#norm('bn1', width);
    const blur = this.#filter === false ? null : this.#blur('maxpool.1');
    return (pass, images) => {
      const { ops } = pass;
      const x = ops.relu(norm(pass, conv(pass, images)));
      return blur
        ? blur(pass, ops.maxPool(x, 2, { stride: 1, padding: 0 }))
        : ops.maxPool(x, 3, { stride: 2, padding: 1 });
    };
  }

  block(name: string, kind: 'bottleneck' | 'basic', input: number, inner: number, stride: number): Layer {
    const out = inner * EXPANSION[kind];
    const blurs = stride > 1 && this.#filter !== false;
    /** The stride of the 3×3 convolution that carries it where nothing blurs. */
    const denseStride = blurs ? 1 : stride;
    const main =
      kind === 'bottleneck'
        ? [
            this.#conv(`${name}.conv1`, 1, input, inner, 1),
            this.#norm(`${name}.bn1`, inner),
            relu,
            this.#conv(`${name}.conv2`, 3, inner, inner, denseStride),
            this.#norm(`${name}.bn2`, inner),
            relu,
            ...this.#blurredConv(`${name}.conv3`, 1, inner, out, blurs),
          ]
        : [
            this.#conv(`${name}.conv1`, 3, input, inner, denseStride),
            this.#norm(`${name}.bn1`, inner),
            relu,
            ...this.#blurredConv(`${name}.conv2`, 3, inner, out, blurs),
          ];
    const last = kind === 'bottleneck' ? `${name}.bn3` : `${name}.bn2`;
    main.push(this.#norm(last, out, this.#lastGamma));
    this.lastNorm = last;
    const shortcut = stride > 1 || input !== out ? this.#shortcut(`${name}.downsample`, input, out, stride) : [];
    return (pass, x) => relu(pass, pass.ops.add(chain(main, pass, x), chain(shortcut, pass, x)));
  }

  dense(name: string, input: number, output: number): void {
    // PyTorch's Linear: uniform in ±1/√inputs, for the bias too.
    const start: Start = { kind: 'uniform', bound: 1 / Math.sqrt(input) };
    this.#declare(`${name}.weight`, 'fc-weight', start, [input, output], [output, input]);
    this.#declare(`${name}.bias`, 'fc-bias', start, [output]);
  }

  /** The indexes are those of a PyTorch Sequential: a blur in front moves the others up by one. */
  #shortcut(name: string, input: number, out: number, stride: number): Layer[] {
    if (stride === 1 || this.#filter === false)
      return [this.#conv(`${name}.0`, 1, input, out, stride), this.#norm(`${name}.1`, out)];
    return [this.#blur(`${name}.0`), this.#conv(`${name}.1`, 1, input, out, 1), this.#norm(`${name}.2`, out)];
  }

  #blurredConv(name: string, size: number, input: number, out: number, blurs: boolean): Layer[] {
    if (!blurs) return [this.#conv(name, size, input, out, 1)];
    return [this.#blur(`${name}.0`), this.#conv(`${name}.1`, size, input, out, 1)];
  }

  #blur(name: string): Layer {
    const size = this.#filter;
    if (size === false) throw new Error(`${name}: no filter size`);
    this.blurs.push(name);
    return ({ ops }, x) => blurPool(ops, x, size, 2);
  }

  #conv(name: string, size: number, input: number, output: number, stride: number): Layer {
    const weight = `${name}.weight`;
    // Kaiming (He 2015) by fan-out, as torchvision's ResNet.
    const start: Start = { kind: 'normal', deviation: Math.sqrt(2 / (output * size * size)) };
    this.#declare(weight, 'conv', start, [size, size, input, output], [output, input, size, size]);
    const window = { stride, padding: (size - 1) / 2 };
    return ({ ops, weights }, x) => ops.conv2d(x, named<Tensor4D>(weights, weight), window);
  }

  #norm(name: string, channels: number, firstGamma = 1): Layer {
    const [gamma, beta] = [`${name}.weight`, `${name}.bias`];
    const [mean, variance] = [`${name}.running_mean`, `${name}.running_var`];
    this.#declare(gamma, 'norm-weight', { kind: 'constant', value: firstGamma }, [channels]);
    this.#declare(beta, 'norm-bias', { kind: 'constant', value: 0 }, [channels]);
    this.statistics.push({ name: mean, kind: 'mean', channels }, { name: variance, kind: 'variance', channels });
    this.stateNames.push(mean, variance);
    return ({ ops, weights, statistics, mode, batchStatistics }, x) => {
      const [g, b] = [named<Tensor1D>(weights, gamma), named<Tensor1D>(weights, beta)];
      if (mode === 'inference' || (mode === 'fixres' && name !== this.lastNorm))
        return ops.normalise(x, named<Tensor1D>(statistics, mean), named<Tensor1D>(statistics, variance), g, b);
      const result = ops.batchNorm(x, g, b);
      batchStatistics[mean] = result.mean;
      batchStatistics[variance] = result.variance;
      return result.y;
    };
  }

  #declare(name: string, kind: ParameterKind, start: Start, shape: number[], torchShape: number[] = shape): void {
    this.parameters.push({ name, kind, start, shape, torchShape });
    this.stateNames.push(name);
  }
}

const relu: Layer = ({ ops }, x) => ops.relu(x);
const chain = (layers: readonly Layer[], pass: Pass, x: Tensor4D): Tensor4D =>
  layers.reduce((input, layer) => layer(pass, input), x);
