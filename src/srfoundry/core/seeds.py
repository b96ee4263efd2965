"""Random numbers as arguments: a generator for each named thing, so that no result depends on order or workers."""

import hashlib
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


def derive(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed that depends on `seed` and on every name, and on nothing else.

    >>> derive(1, "dual", 7) == derive(1, "dual", 7)
    True
    """
    text = "\x1f".join([str(seed), *map(str, names)]).encode(errors="surrogateescape")  # a file's name may be any bytes
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def generator(seed: int, *names: str | int) -> torch.Generator:
    """Return a generator on the CPU for `(seed, *names)`; the global generators take no part.

    >>> torch.rand(1, generator=generator(1, "a")).equal(torch.rand(1, generator=generator(1, "a")))
    True
    """
    rng = torch.Generator()
    rng.manual_seed(derive(seed, *names))
    return rng


@dataclass(frozen=True)
class Stream:
    """The random numbers of one piece of work: every draw has a name, and none depends on another.

    Args:
        seed: of the whole pipeline (`shared.seed`).
        name: of the work; the stage's, as a rule.

    >>> Stream(1, "dual").rng(7).initial_seed() == generator(1, "dual", 7).initial_seed()
    True
    """

    seed: int
    name: str

    def rng(self, *names: str | int) -> torch.Generator:
        """A generator for one draw, named within the work."""
        return generator(self.seed, self.name, *names)


@dataclass(frozen=True)
class Rows:
    """Rows of a batch of which some are here: each row's numbers are the same, wherever the others are.

    Args:
        count: of the whole batch.
        here: which of them.
    """

    count: int
    here: slice | Tensor = field(default_factory=lambda: slice(None))

    def rand(self, *shape: int, rng: torch.Generator, dtype: torch.dtype | None = None) -> Tensor:
        """Uniform numbers, drawn for the whole batch, of the rows that are here."""
        return torch.rand(self.count, *shape, generator=rng, dtype=dtype)[self.here]

    def randn(self, *shape: int, rng: torch.Generator) -> Tensor:
        """Normal numbers likewise."""
        return torch.randn(self.count, *shape, generator=rng)[self.here]


def moved(rng: torch.Generator, device: torch.device) -> torch.Generator:
    """The generator itself on a CPU; else one of the device's own, that starts from its seed."""
    if device.type == "cpu":
        return rng
    own = torch.Generator(device)
    own.manual_seed(rng.initial_seed())
    return own


def redraw(net: nn.Module, rng: torch.Generator) -> None:
    """Draw the weights of every convolution and linear map anew (PyTorch's default: uniform within 1/sqrt(fan in)).

    In place. What a net starts at a constant (norms, position tables) stays as it was built.

    Args:
        rng: on any device; each layer's weights are drawn before its biases, layers in the order of `net.modules()`.
    """
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
                bound = module.weight[0].numel() ** -0.5
                for value in (module.weight, module.bias):
                    if value is not None:
                        value.copy_((torch.rand(value.shape, generator=rng, device=rng.device) * 2 - 1) * bound)
