"""Forms of a kernel that is learned: a network's output (DKP), free taps (Double-DIP), a family's member (FKP).

Each is a module without input whose output `1 k k` is positive and sums to 1, whatever its weights. They are
interchangeable: the data term, the pull of the sampled kernels and Langevin's noise act on their weights alike.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.blind.dkp.families import Family
from srfoundry.blind.settings import Form
from srfoundry.networks.nonblind.dip_unet import draw

# How much longer a step suits than the network's, where one step moves thousands of weights together.
PACE: dict[Form, float] = {"network": 1.0, "taps": 30.0, "family": 20.0}


class KernelGenerator(nn.Module):
    """G_k of DKP: a fixed code, two layers, a softmax over all taps; 322,121 parameters for 11x11 taps.

    Whatever its weights, the kernel is positive and sums to 1.
    """

    def __init__(self, size: int, *, code: int = 200, width: int = 1000) -> None:
        super().__init__()
        self.size = size
        self.body = nn.Sequential(nn.Linear(code, width), nn.ReLU6(), nn.Linear(width, size**2))

    def forward(self, code: Float[Tensor, " c"]) -> Float[Tensor, "1 k k"]:
        return torch.softmax(self.body(code), dim=-1).view(1, self.size, self.size)


class Network(nn.Module):
    """k = G_k(z): the softmax of two layers over a fixed random code (DKP, MLMC)."""

    def __init__(self, size: int, *, rng: torch.Generator, device: torch.device) -> None:
        super().__init__()
        self.net = draw(lambda: KernelGenerator(size), rng=rng, device=device)
        self.code = 0.1 * torch.rand(200, generator=rng).to(device)

    def forward(self) -> Float[Tensor, "1 k k"]:
        return self.net(self.code)


class Taps(nn.Module):
    """k = softmax(taps): each tap on its own, as in Double-DIP; only the data and the sampled kernels hold them."""

    def __init__(self, start: Float[Tensor, "1 k k"]) -> None:
        super().__init__()
        self.logits = nn.Parameter((start + 1e-6).log())

    def forward(self) -> Float[Tensor, "1 k k"]:
        return torch.softmax(self.logits.flatten(), dim=0).view_as(self.logits)


class Member(nn.Module):
    """k = family(shape): a few numbers, so that the kernel never leaves its family (FKP's idea, by formula)."""

    def __init__(self, family: Family, *, device: torch.device) -> None:
        super().__init__()
        self.family = family
        # Near the middle of the prior, and no circle: a circle's axes have no direction, and so no gradient.
        rng = torch.Generator().manual_seed(0)
        middle = family.sample(512, rng=rng).mean(dim=0, keepdim=True)
        tilt = 0.1 * torch.cos(torch.arange(family.dim, dtype=torch.float64))
        self.shape = nn.Parameter(family.clip(middle + tilt).float().to(device))

    def forward(self) -> Float[Tensor, "1 k k"]:
        return self.family.kernels(self.shape.double()).float()


def make(form: Form, family: Family, *, rng: torch.Generator, device: torch.device) -> Network | Taps | Member:
    """A kernel of this form, near the family's mean once it has been warmed up."""
    if form == "network":
        return Network(family.size, rng=rng, device=device)
    if form == "taps":
        return Taps(family.mean().float().to(device))
    return Member(family, device=device)


def keep(kernel: nn.Module) -> None:
    """After a step: bring a member's shape back to where its family is."""
    if isinstance(kernel, Member):
        with torch.no_grad():
            inside = kernel.family.clip(kernel.shape.double())
            kernel.shape.copy_(torch.nan_to_num(inside, nan=math.log(2.0)))
