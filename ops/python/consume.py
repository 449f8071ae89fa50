"""Trains a PyTorch model on a run's topics: python consume.py --run NAME --transport kafka://HOST:PORT

Prints one JSON line a step {"step", "loss", "samples", "resolution"}. Put your own model in the place of `small_net`.
"""

import argparse
import json

import torch
from batches import batches, run_of
from torch import nn

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def tensors_of(batch, classes, device="cpu"):
    """Normalised images, float NCHW, and soft targets [n, classes]: MixUp's λ of label A, the rest of label B."""
    names = ("images", "labelA", "labelB", "lam")
    images, label_a, label_b, lam = (torch.from_numpy(batch[name]).to(device) for name in names)
    pixels = images.permute(0, 3, 1, 2).float().div(255).sub(MEAN.to(device)).div(STD.to(device))
    one_hot = [nn.functional.one_hot(label.long(), classes).float() for label in (label_a, label_b)]
    return pixels, lam[:, None] * one_hot[0] + (1 - lam[:, None]) * one_hot[1]


def small_net(classes):
    """Any size of image; 100,000 parameters."""
    layers = []
    for inside, outside in ((3, 32), (32, 64), (64, 128)):
        convolution = nn.Conv2d(inside, outside, 3, stride=2, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(outside), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, classes))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", required=True)
    parser.add_argument("--transport", required=True, help="kafka://HOST:PORT[,HOST:PORT…]")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="librdkafka's, as for TLS")
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--from-step", type=int, default=0)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--smoothing", type=float, default=0.1)
    options = parser.parse_args()

    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    servers = options.transport.removeprefix("kafka://").split("?")[0]
    kafka = {"bootstrap.servers": servers, **dict(each.split("=", 1) for each in options.set)}
    classes = len(run_of(kafka, options.run)["dataset"]["classes"])
    model = small_net(classes).to(device)
    criterion = nn.CrossEntropyLoss(label_smoothing=options.smoothing)
    optimizer = torch.optim.SGD(model.parameters(), lr=options.lr, momentum=0.9, weight_decay=5e-4)
    for step, batch in batches(kafka, options.run, options.rank, options.ranks, options.from_step):
        images, targets = tensors_of(batch, classes, device)
        loss = criterion(model(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        line = {"step": step, "loss": loss.item(), "samples": len(images), "resolution": images.shape[-1]}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
