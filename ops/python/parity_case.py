"""Writes a parity case: what PyTorch computes in float64 for a few steps of training, and how far float32 may lie from it.

python parity_case.py --out CASE.json [--layers 1,1,1,1] [--filter 4|none] [--classes 10] … (--help lists all)

Weights, images and targets come from formulas, which the file holds; its tolerances from eight runs in float32.
"""

import argparse
import itertools
import json
import math

import numpy as np
import torch
from resnet import ResNet
from torch.nn import functional

FORMULA = {
    "hash32": "x ^= x>>>16; x *= 0x7feb352d; x ^= x>>>15; x *= 0x846ca68b; x ^= x>>>16 (all mod 2^32)",
    "key": "fnv1a32 of the UTF-8 name, xor hash32(seed)",
    "uniform(name, i)": "hash32((i + key) mod 2^32) / 2^32, in float64",
    "weight": "std * sqrt(3) * (2u - 1), cast to float32; i is the flat index in PyTorch's order (OIHW for convolutions, "
    "[out,in] for fc); std = sqrt(2 / (out_channels*kh*kw)) for convolutions, 0.02 for fc.weight",
    "others": "bn.weight = 0.5 + u; bn.bias = 0.2*(u-0.5); running_mean = 0; running_var = 1; fc.bias = 0",
    "image": "uint8 = floor(256*u) of name 'image.<step>', i flat in NHWC order; then (x/255 - mean)/std with ImageNet's "
    "mean and std",
    "labels": "a[i] = floor(classes*u) of name 'labelA.<step>'; b[i] of 'labelB.<step>'; lam = 0.5 + 0.5*u of name "
    "'lam.<step>', i = 0; target = lam*onehot(a) + (1-lam)*onehot(b), then smoothed: (1-s)*t + s/classes",
}
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
EVALUATED = 4  # images of the first batch whose logits the file holds
SAMPLED = 3  # first values of each tensor that it holds


def hash32(x):
    """uint32 array → uint32 array."""
    x = x ^ (x >> np.uint32(16))
    x = x * np.uint32(0x7FEB352D)
    x = x ^ (x >> np.uint32(15))
    x = x * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def fnv1a(name):
    value = 0x811C9DC5
    for byte in name.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def uniform(case, name, count):
    """float64 [count] in [0, 1)."""
    key = np.uint32(fnv1a(name)) ^ hash32(np.array([case["seed"]], np.uint32))
    return hash32(np.arange(count, dtype=np.uint32) + key) / 2.0**32


def initial(case, name, tensor):
    """A parameter's first values, float32: all that goes in is, so that a run in float64 starts from the same numbers."""
    if name == "fc.bias":
        return torch.zeros_like(tensor, dtype=torch.float32)
    u = torch.from_numpy(uniform(case, name, tensor.numel()).reshape(tensor.shape))
    if tensor.dim() == 1:
        return (0.5 + u if name.endswith("weight") else 0.2 * (u - 0.5)).float()
    std = 0.02 if tensor.dim() == 2 else math.sqrt(2 / (tensor.shape[0] * tensor.shape[2] * tensor.shape[3]))
    return (std * math.sqrt(3) * (2 * u - 1)).float()


def images_of(case, step):
    """float32 [batch, 3, res, res], normalised."""
    batch, res = case["batch"], case["res"]
    pixels = np.floor(256 * uniform(case, f"image.{step}", batch * res * res * 3)).reshape(batch, res, res, 3)
    normalised = (pixels.astype(np.float32) / np.float32(255) - MEAN) / STD
    return torch.from_numpy(normalised).permute(0, 3, 1, 2).contiguous()


def targets_of(case, step):
    """float32 [batch, classes]: MixUp in float64, smoothing in float32."""
    classes, smoothing = case["classes"], case["smoothing"]

    def one_hot(name):
        labels = np.floor(classes * uniform(case, f"{name}.{step}", case["batch"])).astype(np.int64)
        return functional.one_hot(torch.from_numpy(labels), classes).double()

    lam = 0.5 + 0.5 * uniform(case, f"lam.{step}", 1)[0]
    mixed = lam * one_hot("labelA") + (1 - lam) * one_hot("labelB")
    return (1 - smoothing) * mixed.float() + smoothing / classes


def model_of(case, dtype):
    model = ResNet(case["layers"], case["classes"], filter=case["filter"]).to(torch.float64)
    for module in model.modules():  # exact in float64, and in float32: sums of few halves
        if hasattr(module, "filt"):
            assert torch.equal(module.filt, module.filt.float().double())
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            tensor.copy_(initial(case, name, tensor))
    return model.to(dtype)


def eval_logits(case, model, images):
    model.eval()
    with torch.no_grad():
        logits = model(images[:EVALUATED])
    model.train()
    return logits.flatten().tolist()


def grad_norms(model):
    return {name: tensor.grad.double().norm().item() for name, tensor in model.named_parameters()}


def perturb(case, model):
    """w → w + e in place (Foret 2020; adaptive: Kwon 2021); returns the values at w."""
    weights = list(model.parameters())
    before = [w.detach().clone() for w in weights]
    with torch.no_grad():
        sizes = [w.abs() if case["adaptive"] else torch.ones_like(w) for w in weights]
        norm = torch.stack([(size * w.grad).norm() for w, size in zip(weights, sizes)]).norm()
        for w, size in zip(weights, sizes):
            w.add_(size**2 * w.grad * (case["rho"] / norm))
    return before


def hold_statistics(model, held):
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.0 if held else 0.1


def run(case, dtype, memory_format=torch.contiguous_format):
    """All figures of the case, computed in `dtype`."""
    model = model_of(case, dtype).to(memory_format=memory_format)
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=case["lr"],
        momentum=case["momentum"],
        nesterov=case["nesterov"],
        weight_decay=case["wd"],
    )
    first = images_of(case, 0).to(dtype)
    found = {"evalLogits": eval_logits(case, model, first), "samGradNorm": {}, "loss": []}

    def backward(step):
        images = images_of(case, step).to(dtype).contiguous(memory_format=memory_format)
        optimizer.zero_grad()
        # The mean over the batch, of soft targets.
        loss = functional.cross_entropy(model(images), targets_of(case, step).to(dtype))
        loss.backward()
        return loss.item()

    for step in range(case["steps"]):
        found["loss"].append(backward(step))
        if step == 0:
            found["firstGradNorm"] = grad_norms(model)
        if (step + 1) % case["interval"] == 0:
            before = perturb(case, model)
            hold_statistics(model, held=not case["bn_second_pass"])
            backward(step)
            hold_statistics(model, held=False)
            with torch.no_grad():
                for weight, value in zip(model.parameters(), before):
                    weight.copy_(value)
            found["samGradNorm"] = found["samGradNorm"] or grad_norms(model)
        optimizer.step()
    found["firstLoss"] = found["loss"][0]
    found["final"] = {
        name: {"norm": tensor.double().norm().item(), "sample": tensor.flatten()[:SAMPLED].tolist()}
        for name, tensor in model.state_dict().items()
        if not name.endswith(("filt", "num_batches_tracked"))
    }
    found["sizes"] = {name: tensor.numel() for name, tensor in model.state_dict().items()}
    found["finalEvalLogits"] = eval_logits(case, model, first)
    return found


def relative(ours, theirs):
    return 0.0 if ours == theirs else abs(ours - theirs) / abs(theirs) if theirs else math.inf


def of_the_largest(ours, theirs):
    return max(abs(a - b) for a, b in zip(ours, theirs)) / max(abs(b) for b in theirs)


def worst(named):
    """The largest of {name: error} as [error, name]."""
    name = max(named, key=named.get, default=None)
    return [named[name], name] if name else [0.0, None]


def distance(ours, theirs):
    """How far figures in float32 lie from those in float64."""
    final = {name: relative(ours["final"][name]["norm"], value["norm"]) for name, value in theirs["final"].items()}
    running = {name: error for name, error in final.items() if "running_" in name}
    samples = {}
    for name, value in theirs["final"].items():
        typical = value["norm"] / math.sqrt(theirs["sizes"][name])
        pairs = zip(ours["final"][name]["sample"], value["sample"])
        samples[name] = max(relative(typical + a - b, typical) for a, b in pairs)

    def norms(key):
        return worst({name: relative(ours[key][name], norm) for name, norm in theirs[key].items()})

    return {
        "loss": [relative(a, b) for a, b in zip(ours["loss"], theirs["loss"])],
        "firstGradNorm": norms("firstGradNorm"),
        "samGradNorm": norms("samGradNorm"),
        "finalWeightNorm": worst({name: error for name, error in final.items() if name not in running}),
        "finalRunningNorm": worst(running),
        "finalSample": worst(samples),
        "finalEvalLogits": of_the_largest(ours["finalEvalLogits"], theirs["finalEvalLogits"]),
    }


def rounding_of(case, theirs):
    """The largest distance of eight correct runs in float32: other kernels, layouts and threads add in other orders.

    Fewer miss the jumps: where a value at a ReLU is 0 within rounding, one run in ten has another gradient by a percent.
    """
    found, threads = [], torch.get_num_threads()
    for memory_format, mkldnn, count in itertools.product(
        (torch.contiguous_format, torch.channels_last), (True, False), (1, 2)
    ):
        torch.set_num_threads(count)
        with torch.backends.mkldnn.flags(enabled=mkldnn):
            found.append(distance(run(case, torch.float32, memory_format), theirs))
    torch.set_num_threads(threads)
    return {
        key: [max(step) for step in zip(*(one[key] for one in found))]
        if key == "loss"
        else max(one[key] for one in found)
        for key in found[0]
    }


def tolerance_of(rounding):
    """Some times the rounding, and at least what every correct float32 run keeps easily."""
    # A later loss that lies near by chance is not more exact than those before it.
    losses = itertools.accumulate(rounding["loss"], max)
    return {
        "evalLogits": "1e-4 of the largest",
        "firstLoss": 1e-5,
        "firstGradNorm": max(0.01, 3 * rounding["firstGradNorm"][0]),
        "samGradNorm": max(0.01, 3 * rounding["samGradNorm"][0]),
        "loss": [max(2e-4, 5 * error) for error in losses],
        "final.norm": {
            "weights and biases": max(5e-4, 3 * rounding["finalWeightNorm"][0]),
            "running_mean, running_var": max(2e-3, 3 * rounding["finalRunningNorm"][0]),
        },
        "final.sample": f"{max(2e-3, 5 * rounding['finalSample'][0]):.4g} of the root mean square",
        "finalEvalLogits": f"{max(1e-3, 5 * rounding['finalEvalLogits']):.4g} of the largest",
    }


def case_file(case):
    """The file's content as a dict."""
    figures = run(case, torch.float64)
    rounding = rounding_of(case, figures)
    names = ("evalLogits", "firstLoss", "firstGradNorm", "loss", "samGradNorm", "final", "finalEvalLogits")
    held = {name: figures[name] for name in names}
    return {"formula": FORMULA, "case": case, **held, "rounding": rounding, "tolerance": tolerance_of(rounding)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True)
    parser.add_argument("--layers", default="1,1,1,1", help="bottleneck blocks in each of the four stages")
    parser.add_argument("--filter", default="4", help="of the blurs, 1 … 7, or none")
    for name, default in {"classes": 10, "res": 40, "batch": 8, "steps": 4, "interval": 1, "seed": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in {"rho": 0.05, "lr": 5e-4, "momentum": 0.9, "wd": 0.05, "smoothing": 0.1}.items():
        parser.add_argument(f"--{name}", type=float, default=default)
    for name in ("adaptive", "nesterov", "bn-second-pass"):
        parser.add_argument(f"--{name}", action="store_true")
    options = vars(parser.parse_args())
    out = options.pop("out")
    options["layers"] = [int(count) for count in options["layers"].split(",")]
    options["filter"] = None if options["filter"] == "none" else int(options["filter"])
    with open(out, "w", encoding="utf-8") as file:
        json.dump(case_file(options), file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
