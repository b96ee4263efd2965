"""ResNet-18 and MobileNetV2 in the layouts that MSGC was published on, weights named as in torchvision.

He et al. (CVPR 2016) and Sandler et al. (CVPR 2018). `stages`, `width` and the stem are free, so that small ones can be
trained on small images; `layer_pairs` lists what may be masked, as the released code has it. No stage trains them: they
are here because compression.msgc is of use, and can be held against its paper, on the task that it was published for.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from srfoundry.compression.msgc.layer_pairs import LayerPair


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a skip; the stride is in the first."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = None
        if stride != 1 or inputs != width:
            conv = nn.Conv2d(inputs, width, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(width))

    def forward(self, features: Tensor) -> Tensor:
        skip = features if self.downsample is None else self.downsample(features)
        inner = functional.relu(self.bn1(self.conv1(features)))
        return functional.relu(self.bn2(self.conv2(inner)) + skip)


class ResNet(nn.Module):
    """`ResNet()` is ResNet-18. `small` is a 3x3 stem without strides, for images of a few pixels."""

    def __init__(
        self,
        *,
        classes: int = 1000,
        width: int = 64,
        stages: Sequence[int] = (2, 2, 2, 2),
        channels: int = 3,
        small: bool = False,
    ) -> None:
        super().__init__()
        if small:
            self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        else:
            self.conv1 = nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.small, self.stages = small, list(stages)
        inputs = width
        for index, count in enumerate(stages):
            wide = width * 2**index
            blocks = [BasicBlock(inputs if i == 0 else wide, wide, 1 if index == 0 or i else 2) for i in range(count)]
            self.add_module(f"layer{index + 1}", nn.Sequential(*blocks))
            inputs = wide
        self.fc = nn.Linear(inputs, classes)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n"]:
        features = functional.relu(self.bn1(self.conv1(images)))
        if not self.small:
            features = functional.max_pool2d(features, 3, stride=2, padding=1)
        for index in range(len(self.stages)):
            features = self.get_submodule(f"layer{index + 1}")(features)
        return self.fc(features.mean(dim=(2, 3)))

    def layer_pairs(self) -> list[LayerPair]:
        """Each block's inner width: conv2 reads in groups, conv1 as one."""
        stems = [f"layer{i + 1}.{j}" for i, count in enumerate(self.stages) for j in range(count)]
        return [LayerPair(s, f"{s}.conv2", (f"{s}.conv1",), norms=(f"{s}.bn1",), block=s) for s in stems]


class InvertedResidual(nn.Module):
    """Expand, depthwise, project (linear); a skip where sizes agree."""

    def __init__(self, inputs: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        layers = [] if expansion == 1 else [_conv_norm(inputs, inner, 1)]
        layers.append(_conv_norm(inner, inner, 3, stride=stride, groups=inner))
        self.conv = nn.Sequential(*layers, nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width))
        self.skips = stride == 1 and inputs == width

    def forward(self, features: Tensor) -> Tensor:
        return features + self.conv(features) if self.skips else self.conv(features)


LAYOUT = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class MobileNetV2(nn.Module):
    """`layout` lists (expansion, channels, blocks, first stride); `head` is the last 1x1 convolution's width."""

    def __init__(
        self,
        *,
        classes: int = 1000,
        layout: Sequence[tuple[int, int, int, int]] = LAYOUT,
        stem: int = 32,
        head: int = 1280,
        channels: int = 3,
        small: bool = False,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv_norm(channels, stem, 3, stride=1 if small else 2)]
        inputs = stem
        for expansion, width, count, stride in layout:
            for index in range(count):
                layers.append(InvertedResidual(inputs, width, stride if index == 0 else 1, expansion))
                inputs = width
        self.features = nn.Sequential(*layers, _conv_norm(inputs, head, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(head, classes))

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n"]:
        return self.classifier(self.features(images).mean(dim=(2, 3)))

    def layer_pairs(self) -> list[LayerPair]:
        """Each block's expanded width: the projection reads in groups; expansion and depthwise lose what none reads."""
        found = []
        for index, block in enumerate(self.features):
            if isinstance(block, InvertedResidual):
                stem = f"features.{index}"
                steps = [f"{stem}.conv.{i}" for i in range(len(block.conv) - 2)]
                makers, norms = tuple(f"{step}.0" for step in steps), tuple(f"{step}.1" for step in steps)
                reader = f"{stem}.conv.{len(steps)}"
                found.append(LayerPair(stem, reader, makers, norms=norms, narrow=False, block=stem))
        return found


def start(net: nn.Module, rng: torch.Generator) -> None:
    """Draw the weights: He's normal (fan out) for convolutions, small normal for the classifier; in place."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=rng)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01, generator=rng)
            nn.init.zeros_(module.bias)


def _conv_norm(inputs: int, outputs: int, size: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU6())
