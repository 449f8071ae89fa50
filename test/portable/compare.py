"""PyTorch's half of the comparison: loads exports strictly, answers on the same pixels and on its own, makes weights.

Reads one JSON object from stdin: {"weights", "block", "layers", "blurpool", "width", "classes", "images", "photos",
"resolution", "cropRatio", "made", "logits"}; prints one on the last line.
"""

import json
import sys

import numpy
import PIL
import torch
import torchvision
from models import build, narrow, normalised, unsettle
from PIL import Image
from safetensors.torch import load_file, save_file
from torchvision import transforms

BATCH = 6


def answers(net, images):
    with torch.no_grad():
        return torch.cat([net(normalised(part)) for part in images.split(BATCH)])


def settle(net, images):
    """Statistics of real activations: random ones let them grow from block to block, past any comparison."""
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1
    net.train()
    with torch.no_grad():
        net(normalised(images[:16]))
    return net.eval()


def own_pixels(task):
    """torchvision's transforms on what Pillow decodes."""
    side = task["resolution"]
    transform = transforms.Compose([transforms.Resize(round(side / task["cropRatio"])), transforms.CenterCrop(side)])
    images = [numpy.asarray(transform(Image.open(path).convert("RGB"))) for path in task["photos"]]
    return torch.from_numpy(numpy.stack(images))


def main():
    task = json.load(sys.stdin)
    # Some constructors of antialiased-cnns talk; only the result is for stdout.
    stdout, sys.stdout = sys.stdout, sys.stderr
    # Threads that wait for each other crawl where the cores are shared.
    torch.set_num_threads(1)

    def make():
        net = build(task["block"], task["layers"], task["blurpool"], task["classes"])
        return net if task["width"] == 64 else narrow(net, 64 // task["width"])

    net = make()
    load = net.load_state_dict(load_file(task["weights"]), strict=True)
    net.eval()
    given = load_file(task["images"])["images"]
    own = own_pixels(task)
    torch.manual_seed(7)
    other = settle(unsettle(make(), 7), given)
    save_file(other.state_dict(), task["made"], metadata={"format": "pt"})
    logits = {"same": answers(net, given), "own": answers(net, own), "made": answers(other, given)}
    save_file(logits | {"pixels": own.contiguous()}, task["logits"])
    result = {
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__, "pillow": PIL.__version__},
        "missing": load.missing_keys,
        "unexpected": load.unexpected_keys,
        "entries": len(net.state_dict()),
    }
    print(json.dumps(result), file=stdout, flush=True)


main()
