"""Trains the trainer's network by a run's own recipe, in PyTorch, on the run's batches.

    python train.py --checkpoint DIR --records DIR                              # files of `stream replay --to DIR`
    python train.py --checkpoint DIR --run NAME --transport kafka://HOST:PORT   # a broker's topics

The checkpoint is a folder checkpoint-STEP of ours: recipe, weights and momentum, so this goes on where that stands. Prints
one JSON line a step: {"step", "resolution", "loss", "lr", "ms"}. Every method of the recipe is here, with what makes it
equal to the trainer's: BlurPool (resnet.py), SAM, MixUp, label smoothing, progressive resizing, FixRes, average, clipping.
"""

import argparse
import json
import math
import os
import time

import torch
from resnet import ResNet
from safetensors.torch import load_file, save_file
from torch import nn
from torch.func import functional_call

MEAN = torch.tensor([0.485, 0.456, 0.406])
STD = torch.tensor([0.229, 0.224, 0.225])
# A share of a phase times its epochs may lie below a whole number by rounding.
ROUNDING = 1e-9

OF_THE_STREAM = {"name", "seed", "lanes", "orderWindow", "augmentation", "mixup", "damaged", "evaluation", "phases"}
OF_TRAINING = {"model", "groups", "optimizer", "sam", "labelSmoothing", "clip", "ema", "checkpointSteps"}


# --- the recipe: what happens at a step ---------------------------------------------------------------------------------


class Schedule:
    """Where a step lies, and its learning rate. An epoch's incomplete last step is dropped, as the plan has it."""

    def __init__(self, recipe, train_images):
        self.phases, self.optimizer, self.steps = [], recipe["optimizer"], 0
        for phase in recipe["phases"]:
            steps = phase["epochs"] * (train_images // phase["batch"])
            self.phases.append({**phase, "first": self.steps, "steps": steps})
            self.steps += steps

    def phase(self, step):
        return next(phase for phase in reversed(self.phases) if phase["first"] <= step)

    def learning_rate(self, step):
        phase = self.phase(step)
        share = (step - phase["first"]) / phase["steps"]
        if fixres := phase.get("fixres"):  # a cosine of its own
            return fixres["lr"] * phase["batch"] / fixres["lrPerBatch"] * 0.5 * (1 + math.cos(math.pi * share))
        ordinary = [each for each in self.phases if not each.get("fixres")]
        epoch = sum(each["epochs"] for each in ordinary if each["first"] < phase["first"]) + share * phase["epochs"]
        height = self.optimizer["lr"] * phase["batch"] / self.optimizer["lrPerBatch"]
        return height * self.factor(epoch, sum(each["epochs"] for each in ordinary))

    def factor(self, epoch, epochs):
        """Linear warm-up from 0, then half a cosine or a line to 0, or a factor at each milestone."""
        warmup, schedule = self.optimizer["warmupEpochs"], self.optimizer.get("schedule", "cosine")
        if epoch < warmup:
            return epoch / warmup
        if isinstance(schedule, dict):
            return schedule["factor"] ** sum(milestone <= epoch + ROUNDING for milestone in schedule["milestones"])
        share = (epoch - warmup) / (epochs - warmup)
        return 1 - share if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * share))


def inputs_of(batch, classes, smoothing):
    """Normalised images, float NCHW, and soft targets [n, classes]: MixUp's λ of label A, the rest of B, smoothed."""
    images = torch.from_numpy(batch["images"]).float().div(255).sub(MEAN).div(STD).permute(0, 3, 1, 2)
    one_hot = [nn.functional.one_hot(torch.from_numpy(batch[name]).long(), classes) for name in ("labelA", "labelB")]
    lam = torch.from_numpy(batch["lam"])[:, None]
    mixed = lam * one_hot[0] + (1 - lam) * one_hot[1]
    return images, (1 - smoothing) * mixed + smoothing / classes


# --- one step ---------------------------------------------------------------------------------------------------------


class Trainer:
    def __init__(self, model, recipe, step, slots, average):
        self.model, self.recipe, self.average = model, recipe, average
        self.norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in self.norms:
            norm.momentum = 1.0  # the running buffers then show the batch's own statistics; `step` moves the true ones
        self.step_number, self.slots, self.optimizer = step, slots, None

    def begin_phase(self, fixres, fresh):
        """What trains, in which mode; `fresh`: the phase begins here, it is not gone on with."""
        last = self.model.layer4[-1].last_norm
        mine = {id(parameter) for module in (last, self.model.fc) for parameter in module.parameters()}
        self.trained = {
            name: parameter
            for name, parameter in self.model.named_parameters()
            if not fixres or id(parameter) in mine
        }
        # FixRes: only the last norm and fc train, all before them is in inference mode.
        self.model.train(not fixres)
        last.train()
        if fixres and fresh:
            self.slots = {}
            self.average = self.average and self.live()
        sgd, decayed, plain = self.recipe["optimizer"], [], []
        for parameter in self.trained.values():
            weight = parameter.dim() > 1 or sgd["decay"] == "all"  # a norm's gamma and every bias have one dimension
            (decayed if weight else plain).append(parameter)
        groups = [{"params": decayed, "weight_decay": sgd["weightDecay"]}, {"params": plain, "weight_decay": 0.0}]
        settings = {"lr": 0.0, "momentum": sgd["momentum"], "nesterov": sgd["nesterov"]}
        if self.optimizer is None or fixres:
            self.optimizer = torch.optim.SGD(groups, **settings)
            for name, parameter in self.trained.items():
                if name in self.slots:
                    self.optimizer.state[parameter]["momentum_buffer"] = self.slots[name]

    def gradients(self, weights, inputs, statistics):
        """Loss and gradients at `weights`; appends the batch's mean and variance of the norms in training mode."""
        buffers = self.running()
        kept = [buffer.clone() for buffer in buffers]
        images, targets = inputs
        loss = nn.functional.cross_entropy(functional_call(self.model, weights, (images,)), targets)
        found = torch.autograd.grad(loss, list(weights.values()))
        statistics.append([buffer.clone() for buffer in buffers])
        for buffer, value in zip(buffers, kept):
            buffer.copy_(value)
        return loss.item(), found

    def running(self):
        return [buffer for norm in self.norms if norm.training for buffer in (norm.running_mean, norm.running_var)]

    def perturbed(self, found):
        """SAM (Foret 2020): w + ρ·g/‖g‖; adaptive: w + ρ·w²·g/‖|w|·g‖. The parameters themselves stay as they are."""
        sam, weights = self.recipe["sam"], self.trained.values()
        scaled = [w.detach() * g if sam["adaptive"] else g for w, g in zip(weights, found)]
        factor = sam["rho"] / (torch.stack([each.square().sum() for each in scaled]).sum().sqrt() + 1e-12)
        moved = [
            w.detach() + factor * (w.detach() * each if sam["adaptive"] else each) for w, each in zip(weights, scaled)
        ]
        return {name: value.requires_grad_() for name, value in zip(self.trained, moved)}

    def step(self, groups, rate, fixres, batch):
        """One step on the groups' inputs, each a unit of BatchNorm and gradient. Returns the mean loss, at w."""
        sam = None if fixres else self.recipe["sam"] or None
        fires = sam is not None and (self.step_number + 1) % sam["interval"] == 0
        first, second = [], []
        results = [self.gradients(self.trained, inputs, first) for inputs in groups]
        losses, found = [loss for loss, _ in results], [gradients for _, gradients in results]
        if fires:
            if sam["scope"] == "global":  # one perturbation for all groups
                found = [mean(found)] * len(groups)
            found = [self.gradients(self.perturbed(g), inputs, second)[1] for g, inputs in zip(found, groups)]
        for parameter, gradient in zip(self.trained.values(), mean(found)):
            parameter.grad = gradient
        if clip := self.recipe.get("clip"):
            nn.utils.clip_grad_norm_(self.trained.values(), clip["norm"])
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        for statistics in (first, second) if fires and sam["bnSecondPass"] else (first,):
            for buffer, value in zip(self.running(), mean(statistics)):
                buffer.mul_(0.9).add_(value, alpha=0.1)
        if self.average:
            keep = 0.5 ** (batch / self.recipe["ema"]["halfLifeImages"])
            for name, value in self.live().items():
                self.average[name].lerp_(value, 1 - keep)
        self.step_number += 1
        return sum(losses) / len(losses)

    def live(self):
        """A copy of parameters and running statistics, by name."""
        state = self.model.state_dict()
        return {name: value.clone() for name, value in state.items() if value.is_floating_point()}


def mean(lists):
    """[[a, b], [c, d]] → [(a + c) / 2, (b + d) / 2]."""
    return [torch.stack(same).mean(0) if len(same) > 1 else same[0] for same in zip(*lists)]


# --- from a checkpoint to the plan's end --------------------------------------------------------------------------------


def trainer_of(folder, state):
    """The network and all that its training holds, as the checkpoint has it."""
    recipe, shape = state["recipe"], state["recipe"]["model"]
    if unknown := set(recipe) - OF_THE_STREAM - OF_TRAINING:
        raise SystemExit(f"the recipe has {', '.join(sorted(unknown))}, which is not done here")
    model = ResNet(shape["layers"], state["classes"], shape["block"], shape["width"], shape["blurpool"] or None)
    weights = load_file(os.path.join(folder, "weights.safetensors"))
    missing, unexpected = model.load_state_dict(weights, strict=False)
    # Our checkpoints leave out what is no state: the blurs' filters, and counters that nothing reads.
    missing = [name for name in missing if not name.endswith((".filt", "num_batches_tracked"))]
    if missing or unexpected:
        raise SystemExit(f"{folder}: no weights for {missing}, none expected for {unexpected}")
    averages = os.path.join(folder, "ema.safetensors")
    slots = load_file(os.path.join(folder, "optimizer.safetensors"))
    trainer = Trainer(model, recipe, state["step"], slots, None)
    if recipe.get("ema"):
        trainer.average = {**trainer.live(), **(load_file(averages) if os.path.exists(averages) else {})}
    return trainer


def batches_of(options, state):
    if options.records:
        from replayed import batches

        return batches(options.records, state["planHash"], state["step"])
    from batches import batches, run_of  # needs confluent-kafka

    kafka = {"bootstrap.servers": options.transport.removeprefix("kafka://").split("?")[0]}
    kafka |= dict(each.split("=", 1) for each in options.set)
    if (found := run_of(kafka, options.run)["planHash"]) != state["planHash"]:
        raise SystemExit(f"run {options.run} is of plan {found}, the checkpoint of {state['planHash']}")
    return batches(kafka, options.run, from_step=state["step"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, metavar="DIR")
    parser.add_argument("--records", metavar="DIR", help="what stream replay --to wrote")
    parser.add_argument("--run", metavar="NAME")
    parser.add_argument("--transport", metavar="kafka://HOST:PORT[,HOST:PORT…]")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="librdkafka's, as for TLS")
    parser.add_argument("--steps", type=int, default=None, help="how many; default to the plan's end")
    parser.add_argument("--threads", type=int, default=None, help="default: PyTorch's own")
    parser.add_argument("--out", metavar="FILE", help="the final weights as safetensors; the average if there is one")
    options = parser.parse_args()
    if (options.records is None) == (options.run is None or options.transport is None):
        parser.error("give --records, or --run and --transport")
    if options.threads:
        torch.set_num_threads(options.threads)

    with open(os.path.join(options.checkpoint, "state.json")) as file:
        state = json.load(file)
    recipe = state["recipe"]
    schedule = Schedule(recipe, state["dataset"]["counts"]["train"])
    trainer = trainer_of(options.checkpoint, state)
    end = schedule.steps if options.steps is None else min(schedule.steps, state["step"] + options.steps)
    phase = None
    for step, batch in batches_of(options, state):
        if step >= end:
            break
        began = time.perf_counter()
        if phase is not schedule.phase(step):
            phase = schedule.phase(step)
            trainer.begin_phase(phase.get("fixres"), fresh=step == phase["first"])
        images, targets = inputs_of(batch, state["classes"], recipe["labelSmoothing"])
        # Lanes come in order and are equally long, so the groups are equal slices of the batch.
        groups = list(zip(images.chunk(recipe["groups"]), targets.chunk(recipe["groups"])))
        rate = schedule.learning_rate(step)
        loss = trainer.step(groups, rate, phase.get("fixres"), phase["batch"])
        ms = (time.perf_counter() - began) * 1000
        line = {"step": step, "resolution": phase["resolution"], "loss": loss, "lr": rate, "ms": round(ms, 1)}
        print(json.dumps(line), flush=True)
    if trainer.step_number < end:
        raise SystemExit(f"the batches end before step {trainer.step_number} of {end}")
    if options.out:
        final = {**trainer.model.state_dict(), **(trainer.average or {})}
        save_file({name: value.contiguous() for name, value in final.items()}, options.out)


if __name__ == "__main__":
    main()
