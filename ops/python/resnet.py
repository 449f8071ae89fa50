"""ResNet with BlurPool or without, in PyTorch: the trainer's network under the same names, so state dicts move between them."""

import torch
from torch import nn
from torch.nn import functional

EXPANSION = {"bottleneck": 4, "basic": 1}


class Blur(nn.Module):
    """BlurPool (Zhang 2019, §3.2): the outer product of a row of Pascal's triangle with itself, at every second place.

    Reflect padding, ⌊(size − 1)/2⌋ before and ⌈(size − 1)/2⌉ after. The filter is a buffer: saved, not trained.
    """

    def __init__(self, channels, size, stride=2):
        super().__init__()
        row = torch.ones(1, dtype=torch.float64)
        for _ in range(size - 1):
            row = functional.pad(row, (0, 1)) + functional.pad(row, (1, 0))
        row = row / row.sum()
        filt = torch.outer(row, row).to(torch.get_default_dtype())
        self.register_buffer("filt", filt.repeat(channels, 1, 1, 1))
        before, after = (size - 1) // 2, size // 2
        self.padding, self.stride = (before, after, before, after), stride

    def forward(self, x):
        padded = functional.pad(x, self.padding, mode="reflect")
        return functional.conv2d(padded, self.filt, stride=self.stride, groups=x.shape[1])


def conv(size, inputs, outputs, stride=1):
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)


class Block(nn.Module):
    """A residual block (He 2015). A stride sits on the 3×3 convolution; with `filter` a blur before the next one has it."""

    def __init__(self, kind, inputs, inner, stride, filter):
        super().__init__()
        outputs = inner * EXPANSION[kind]
        blurs = stride > 1 and bool(filter)
        dense = 1 if blurs else stride

        def blurred(channels, layer):
            return nn.Sequential(Blur(channels, filter, stride), layer) if blurs else layer

        if kind == "bottleneck":
            self.conv1, self.bn1 = conv(1, inputs, inner), nn.BatchNorm2d(inner)
            self.conv2, self.bn2 = conv(3, inner, inner, dense), nn.BatchNorm2d(inner)
            self.conv3, self.bn3 = blurred(inner, conv(1, inner, outputs)), nn.BatchNorm2d(outputs)
        else:
            self.conv1, self.bn1 = conv(3, inputs, inner, dense), nn.BatchNorm2d(inner)
            self.conv2, self.bn2 = blurred(inner, conv(3, inner, outputs)), nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            first = [Blur(inputs, filter, stride)] if blurs else []
            shortcut = conv(1, inputs, outputs, dense)
            self.downsample = nn.Sequential(*first, shortcut, nn.BatchNorm2d(outputs))

    @property
    def last_norm(self):
        return self.bn3 if hasattr(self, "bn3") else self.bn2

    def forward(self, x):
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        if hasattr(self, "conv3"):
            y = self.bn3(self.conv3(functional.relu(y)))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """[n, 3, h, w] → [n, classes]. The state dict's names are antialiased-cnns', and torchvision's where `filter` is None.

    block: "bottleneck" or "basic"; layers: blocks in each of the four stages; width: channels of the stem; filter: the
    blurs' size, 1 … 7, or None; zero_init_gamma: every block starts as its shortcut (Goyal 2017, §5.1).
    """

    def __init__(self, layers=(3, 4, 6, 3), classes=1000, block="bottleneck", width=64, filter=4, zero_init_gamma=False):
        super().__init__()
        self.conv1, self.bn1 = conv(7, 3, width, 2), nn.BatchNorm2d(width)
        self.maxpool = (
            nn.Sequential(nn.MaxPool2d(2, stride=1), Blur(width, filter)) if filter else nn.MaxPool2d(3, 2, padding=1)
        )
        inputs = width
        for stage, count in enumerate(layers):
            inner, blocks = width << stage, []
            for i in range(count):
                blocks.append(Block(block, inputs, inner, 2 if stage > 0 and i == 0 else 1, filter))
                inputs = inner * EXPANSION[block]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, Block) and zero_init_gamma:
                nn.init.zeros_(module.last_norm.weight)

    def forward(self, x):
        x = self.maxpool(functional.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))
