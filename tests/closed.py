"""Small closed loops for the tests of DRN, dual training, search and pruning: nets, photographs, the golden weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from srfoundry.core.parallel import threads
from srfoundry.core.seeds import generator, redraw
from srfoundry.data import prepare, sources
from srfoundry.degradation.settings import BlurRanges, DamageRanges, Model, RandomDegradation, RoundRanges
from srfoundry.dual_regression.settings import LossWeights
from srfoundry.imaging import images
from srfoundry.imaging.patches import Patches
from srfoundry.networks.sr.drn import DRN, start_at_bicubic
from srfoundry.networks.sr.duals import DualNets
from srfoundry.networks.sr.fixed_layers import MeanShift

CPU = torch.device("cpu")


def count(net: nn.Module) -> int:
    """All parameters, the frozen mean shifts included, as the papers count."""
    return sum(parameter.numel() for parameter in net.parameters())


def fill(net: nn.Module) -> None:
    """The golden files' deterministic weights; the mean shifts keep theirs."""
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Conv2d) and not isinstance(module, MeanShift):
                weight = module.weight
                index = torch.arange(weight.numel(), dtype=torch.float64)
                value = torch.sin(0.7 * index + 0.3) / (weight[0].numel() ** 0.5)
                weight.copy_(value.reshape(weight.shape))
                if module.bias is not None:
                    module.bias.copy_(0.05 * torch.cos(1.3 * torch.arange(module.bias.numel(), dtype=torch.float64)))


def loss_weights(dual_weight: float, estimate_weight: float = 0.02) -> LossWeights:
    """Of the terms of a loss beside the primal one."""
    return LossWeights(dual_weight=dual_weight, estimate_weight=estimate_weight)


def photographs(folder: Path, factors: Sequence[int] = (1, 2, 4)) -> Patches:
    """A prepared set of two smooth random images, 64 pixels a side."""
    found: dict[str, Tensor] = {}
    for name in ("one", "two"):
        coarse = torch.rand(1, 3, 16, 16, generator=generator(3, name))
        found[name] = torch.nn.functional.interpolate(coarse, size=(64, 64), mode="bilinear").clamp(0, 1)
    return prepared(folder, found, factors)


def prepared(folder: Path, photographs: Mapping[str, Tensor], factors: Sequence[int]) -> Patches:
    """A prepared set of images in memory, by way of files, as everybody's photographs come."""
    files = {}
    for name, image in photographs.items():
        images.write(image, folder / "files" / f"{name}.png")
        files[name] = sources.Photograph(folder / "files" / f"{name}.png", image.shape[-2], image.shape[-1], "")
    prepare.prepare(folder, files, factors, mapped=threads(1))
    return Patches.open(folder)


def ranges(model: Model, **values: float) -> RandomDegradation:
    """A random degradation of quick, ordinary ranges."""
    return RandomDegradation(
        degradation=model,
        clean=values.get("clean", 0.25),
        blur=BlurRanges(variances=(0.1, 2.0), motion=values.get("motion", 0.2)),
        damage=DamageRanges(
            noisy=values.get("noisy", 0.5),
            noise=0.05,
            grey=0.5,
            poisson=0.5,
            packed=values.get("packed", 0.5),
            jpeg=(40, 90),
        ),
        rounds=RoundRanges(
            once=values.get("once", 0.5),
            first_blur=(0.2, 1.5),
            second_blur=(0.2, 1.0),
            second_blurred=0.5,
            resize=(0.6, 1.2),
            sharpened=values.get("sharpened", 0.2),
        ),
    )


def nets(scale: int = 2) -> tuple[DRN, DualNets]:
    """A tiny primal that starts at bicubic, and its dual net."""
    net, duals = DRN(scale=scale, blocks=1, width=8), DualNets(scale=scale, width=8)
    redraw(net, generator(1, "primal"))
    redraw(duals, generator(1, "dual"))
    start_at_bicubic(net)
    return net, duals
