"""Writes test/fixtures/portable: what PyTorch, torchvision and Pillow compute, for tests that run without them.

    python test/portable/make_fixtures.py        with torch, torchvision, safetensors, antialiased-cnns (README.md)
"""

import json
from pathlib import Path

import numpy
import torch
from models import WHOLE, build, narrow, normalised, unsettle
from PIL import Image
from safetensors.torch import save_file
from torchvision import transforms

FIXTURES = Path(__file__).parent.parent / "fixtures"
OUT = FIXTURES / "portable"
PHOTOS = sorted((FIXTURES / "photos" / "val").glob("*/*"))[::3]
SIDE, SHORT = 48, 55  # round(48 / 0.875)
DTYPES = {torch.float32: "F32", torch.int64: "I64"}


def keys():
    """Name, dtype and shape of every entry of the state_dict, in its order."""
    made = {
        name: {key: [DTYPES[value.dtype], list(value.shape)] for key, value in make().state_dict().items()}
        for name, make in WHOLE.items()
    }
    lines = [f'"{name}":{json.dumps(entries, separators=(",", ":"))}' for name, entries in made.items()]
    (OUT / "keys.json").write_text("{" + ",\n".join(lines) + "}\n")


def crops():
    """Every third photo of val by the published protocol, at 48 px."""
    transform = transforms.Compose([transforms.Resize(SHORT), transforms.CenterCrop(SIDE)])
    images = [numpy.asarray(transform(Image.open(path).convert("RGB"))) for path in PHOTOS]
    images = torch.from_numpy(numpy.stack(images))
    names = ",".join(path.relative_to(FIXTURES / "photos").as_posix() for path in PHOTOS)
    save_file({"images": images}, OUT / "crops.safetensors", metadata={"paths": names})
    return images


def model(name, block, layers, blurpool, seed, images):
    torch.manual_seed(seed)
    net = unsettle(narrow(build(block, layers, blurpool, 5), 32), seed)
    save_file(net.state_dict(), OUT / f"{name}.safetensors", metadata={"format": "pt"})
    with torch.no_grad():
        logits = net.double()(normalised(images).double()).float()
    save_file({"logits": logits.contiguous()}, OUT / f"{name}.logits.safetensors")


def floats():
    """The same numbers in every floating-point format, and what float32 makes of each."""
    values = torch.tensor([0, -0.0, 1, -1.5, 3.14159265358979, 65504, 1e-5, 6e-8, -2.5e-7, 1 / 3, 1e-30], dtype=torch.float64)
    formats = {"F64": torch.float64, "F16": torch.float16, "BF16": torch.bfloat16}
    tensors = {name: values.to(dtype) for name, dtype in formats.items()}
    tensors |= {f"{name}.F32": value.float() for name, value in tensors.items()}
    save_file(tensors, OUT / "floats.safetensors")


OUT.mkdir(exist_ok=True)
keys()
images = crops()
model("blurpool", "bottleneck", [1, 1, 1, 1], 4, 1, images)
model("plain", "basic", [1, 2, 1, 1], False, 2, images)
floats()
