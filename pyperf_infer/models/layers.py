# SPDX-License-Identifier: Apache-2.0
"""The modules of `signatures.SIGNATURES`, each a function from input width and arguments to a list of modules."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

Builder = Callable[..., list[nn.Module]]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut. He et al., "Deep Residual Learning" (2016), figure 5 left."""

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = _shortcut(channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += shortcut
        return self.relu(out)  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut; four times `planes` channels out.

    The stride sits on the 3x3, as in torchvision ("ResNet V1.5"). `groups` and `base_width`: ResNeXt, wide ResNets.
    """

    def __init__(self, channels: int, planes: int, stride: int, groups: int, base_width: int) -> None:
        super().__init__()
        width = planes * base_width // 64 * groups
        out_channels = planes * 4
        if width == 0:
            raise ValueError(f"{planes} planes of base width {base_width} (of 64) leave no channel")
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += shortcut
        return self.relu(out)  # type: ignore[no-any-return]


def _shortcut(channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and channels == out_channels:
        return None
    return nn.Sequential(nn.Conv2d(channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


def _conv(
    channels: int, out_channels: int, kernel: int, stride: int, padding: int | None, groups: int, bias: bool
) -> nn.Conv2d:
    padding = kernel // 2 if padding is None else padding
    return nn.Conv2d(channels, out_channels, kernel, stride, padding, groups=groups, bias=bias)


def _conv_relu(channels: int, **arguments: int) -> list[nn.Module]:
    return [_conv(channels, **arguments), nn.ReLU(inplace=True)]  # type: ignore[arg-type]


def _conv_bn_relu(channels: int, **arguments: int) -> list[nn.Module]:
    conv = _conv(channels, **arguments)  # type: ignore[arg-type]
    return [conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU(inplace=True)]


def _linear_relu_dropout(channels: int, out_features: int, p: float) -> list[nn.Module]:
    return [nn.Linear(channels, out_features), nn.ReLU(inplace=True), nn.Dropout(p)]


BUILDERS: dict[str, Builder] = {
    "Conv": lambda channels, **a: [_conv(channels, **a)],
    "ConvReLU": _conv_relu,
    "ConvBNReLU": _conv_bn_relu,
    "BasicBlock": lambda channels, **a: [BasicBlock(channels, **a)],
    "Bottleneck": lambda channels, **a: [Bottleneck(channels, **a)],
    "BatchNorm": lambda channels: [nn.BatchNorm2d(channels)],
    "ReLU": lambda _: [nn.ReLU(inplace=True)],
    "MaxPool": lambda _, kernel, stride, padding: [nn.MaxPool2d(kernel, stride, padding)],
    "AvgPool": lambda _, kernel, stride, padding: [nn.AvgPool2d(kernel, stride, padding)],
    "AdaptiveAvgPool": lambda _, size: [nn.AdaptiveAvgPool2d(size)],
    "Flatten": lambda _: [nn.Flatten(1)],
    "Dropout": lambda _, p: [nn.Dropout(p)],
    "Linear": lambda channels, out_features, bias: [nn.Linear(channels, out_features, bias)],
    "LinearReLUDropout": _linear_relu_dropout,
}
