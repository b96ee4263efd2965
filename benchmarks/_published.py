"""Parameters and multiply-adds of MSGC's classification nets, counted as the released code counts them.

A product is one, a ReLU's output and a pixel of an average one, a 3x3 maximum four; biases and normalisations are free.
Our own budget (msgc.cost) counts otherwise; these numbers are for comparing with the published ones. No stage
needs them: they are here for whoever compresses a classifier, the task that MSGC was published on, and for our check.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks._classifiers import MobileNetV2, ResNet
from srfoundry.compression.msgc.masked_conv import MSGConv2d, wrap


@dataclass(frozen=True)
class Published:
    """parameters: in all, of the gates, of the attention nets. macs: dense, of all masked layers open, of the gates."""

    parameters: int
    gate_parameters: int
    attention_parameters: int
    macs: int
    masked_macs: int
    gate_macs: int


def published(net: ResNet | MobileNetV2, *, attention: bool, side: int = 224, groups: int = 4) -> Published:
    """Count a net with sample-wise gates on its pairs, over one image of `side` pixels."""
    wrapped = wrap(net, net.layer_pairs(), groups=groups, sampled=True, attention=attention, reduction=4)
    layers = [layer for layer in wrapped.modules() if isinstance(layer, MSGConv2d)]

    def size(parts: list[nn.Module | None]) -> int:
        return sum(weight.numel() for part in parts if part is not None for weight in part.parameters())

    macs, outputs, inputs = _dense(net, side)
    masked = gates = 0
    for layer in layers:
        masked += outputs[layer.name]
        if attention:
            masked += layer.groups * inputs[layer.name]
        for gate in (layer.gate, layer.attention):
            if gate is not None:
                gates += gate.squeeze.weight.numel() + gate.squeeze.out_features + gate.excite.weight.numel()
    for pair in net.layer_pairs():  # one average a block
        gates += inputs[pair.makers[0]]
    return Published(
        parameters=size([wrapped]),
        gate_parameters=size([layer.gate for layer in layers]),
        attention_parameters=size([layer.attention for layer in layers]),
        macs=macs,
        masked_macs=masked,
        gate_macs=gates,
    )


def _dense(net: ResNet | MobileNetV2, side: int) -> tuple[int, dict[str, int], dict[str, int]]:
    """Multiply-adds of the dense net; those of each convolution with the ReLU after it; sizes of its input."""
    hollow = copy.deepcopy(net).to("meta").eval()
    macs, inputs = {}, {}
    rectified: dict[str, int] = {}

    def hook(name: str) -> object:
        def note(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
            assert isinstance(module, (nn.Conv2d, nn.Linear))
            macs[name] = module.weight[0].numel() * output.numel()
            inputs[name] = given[0].numel()
            rectified[name] = output.numel()

        return note

    for name, module in hollow.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(hook(name))  # pyright: ignore[reportArgumentType]
    hollow(torch.zeros(1, 3, side, side, device="meta"))
    linear = {pair.reader for pair in net.layer_pairs()} if isinstance(net, MobileNetV2) else set()
    for name in macs:
        is_plain = "downsample" in name or name in linear or name.startswith(("fc", "classifier"))
        rectified[name] = 0 if is_plain else rectified[name]
    resnet = isinstance(net, ResNet)
    pools = inputs["fc" if resnet else "classifier.1"] * (side // 32) ** 2
    pools += 4 * inputs["layer1.0.conv1"] if resnet else 0
    outputs = {name: macs[name] + rectified[name] for name in macs}
    return sum(outputs.values()) + pools, outputs, inputs
