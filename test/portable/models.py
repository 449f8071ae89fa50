"""PyTorch's ResNets, with BlurPool or without: whole ones, and small ones of the same names for fixtures."""

import antialiased_cnns
import torch
import torchvision
from antialiased_cnns.blurpool import BlurPool
from antialiased_cnns.resnet import BasicBlock as BlurBasic
from antialiased_cnns.resnet import Bottleneck as BlurBottleneck
from antialiased_cnns.resnet import ResNet as BlurResNet
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet


def build(block, layers, blurpool, classes):
    """A ResNet of width 64."""
    bottleneck = block == "bottleneck"
    if blurpool is False:
        return ResNet(Bottleneck if bottleneck else BasicBlock, layers, num_classes=classes)
    kind = BlurBottleneck if bottleneck else BlurBasic
    return BlurResNet(kind, layers, num_classes=classes, filter_size=blurpool)


def narrow(model, divisor):
    """The same model with every number of channels divided."""
    for name, child in model.named_children():
        if isinstance(child, nn.Conv2d):
            inputs = 3 if child.in_channels == 3 else child.in_channels // divisor
            made = nn.Conv2d(inputs, child.out_channels // divisor, child.kernel_size, child.stride, child.padding, bias=False)
        elif isinstance(child, nn.BatchNorm2d):
            made = nn.BatchNorm2d(child.num_features // divisor)
        elif isinstance(child, nn.Linear):
            made = nn.Linear(child.in_features // divisor, child.out_features)
        elif isinstance(child, BlurPool):
            made = BlurPool(child.channels // divisor, filt_size=child.filt_size, stride=child.stride)
        else:
            narrow(child, divisor)
            continue
        setattr(model, name, made)
    return model


def unsettle(model, seed):
    """Gives BatchNorm scales, shifts and statistics as a trained network has them, none of them 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                shape = module.weight.shape
                module.weight.copy_(0.5 + torch.rand(shape, generator=generator))
                module.bias.copy_(0.2 * torch.randn(shape, generator=generator))
                module.running_mean.copy_(0.2 * torch.randn(shape, generator=generator))
                module.running_var.copy_(0.5 + torch.rand(shape, generator=generator))
                module.num_batches_tracked.fill_(seed)
    return model.eval()


WHOLE = {
    "antialiased_cnns.resnet50(filter_size=4)": lambda: antialiased_cnns.resnet50(filter_size=4),
    "antialiased_cnns.resnet18(filter_size=3)": lambda: antialiased_cnns.resnet18(filter_size=3),
    "torchvision.models.resnet50()": torchvision.models.resnet50,
    "torchvision.models.resnet34()": torchvision.models.resnet34,
}


def normalised(images):
    """U8 [n, h, w, 3] -> F32 [n, 3, h, w], by ImageNet's mean and deviation."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((images.float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()
