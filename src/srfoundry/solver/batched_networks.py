"""Many small nets in one: each row of a batch has weights of its own, stacked on a leading axis.

A net here is a description without weights. `draw` makes the weights of some nets, as one vector each, and calling it
applies net i to code i. One vector a net keeps an optimiser's step at a handful of operations over all rows.
Codes are `n i f`: i items of f features, every item through the same weights; `Wrapped` takes whatever its module does.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap

from srfoundry.core import seeds

Activation = Literal["none", "relu", "tanh"]
State = tuple[Tensor, ...]
ACTIVATIONS: Mapping[Activation, Callable[[Tensor], Tensor]] = {
    "none": lambda values: values,
    "relu": torch.relu,
    "tanh": torch.tanh,
}


@runtime_checkable
class Net(Protocol):
    """What the solver needs of a net."""

    def draw(self, count: int, *, rng: torch.Generator, dtype: torch.dtype) -> Float[Tensor, "r p"]:
        """Weights of `count` nets, on the generator's device; all widths of numbers get the same draws."""
        ...

    def __call__(self, weights: Tensor, code: Tensor, state: State) -> tuple[Tensor, State]:
        """Apply net i to code i; `state` is () at the start, and what was returned the step before after that."""
        ...


class _Pieces:
    """The parts of a weight vector by name and shape, drawn uniformly within 1/sqrt(fan in) as in PyTorch."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Parts of the weight vector."""
        raise NotImplementedError

    @property
    def fans(self) -> dict[str, int]:
        """Fan in of each part; 0 draws zeros."""
        raise NotImplementedError

    @property
    def parameters(self) -> int:
        """Weights of one net."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def draw(self, count: int, *, rng: torch.Generator, dtype: torch.dtype) -> Float[Tensor, "r p"]:
        """See `Net.draw`."""
        parts: list[Tensor] = []
        for name, shape in self.shapes.items():
            draws = torch.rand(count, math.prod(shape), generator=rng, device=rng.device, dtype=torch.float64)
            bound = self.fans[name] ** -0.5 if self.fans[name] else 0.0
            parts.append((2 * draws - 1) * bound)
        return torch.cat(parts, dim=1).to(dtype)

    def parts(self, weights: Float[Tensor, "n p"]) -> dict[str, Tensor]:
        """The weight vectors as named parts, `n *shape`."""
        pieces = weights.split([math.prod(shape) for shape in self.shapes.values()], dim=1)
        return {
            name: piece.reshape(len(piece), *shape)
            for (name, shape), piece in zip(self.shapes.items(), pieces, strict=True)
        }


@dataclass(frozen=True)
class Dense(_Pieces):
    """Linear maps f -> hidden -> ... -> f with an activation between them.

    LAGD as released: hidden (20,), no activation. As published: hidden (40, 40) with one.
    zero_head: the last map starts at zero, so that the first output is zero.
    """

    features: int
    hidden: tuple[int, ...] = (20,)
    activation: Activation = "none"
    zero_head: bool = False

    @property
    def widths(self) -> tuple[int, ...]:
        """Features before, between and after the maps."""
        return (self.features, *self.hidden, self.features)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Parts of the weight vector."""
        found: dict[str, tuple[int, ...]] = {}
        for layer, (before, after) in enumerate(zip(self.widths, self.widths[1:], strict=False)):
            found |= {f"{layer}.weight": (before, after), f"{layer}.bias": (1, after)}
        return found

    @property
    def fans(self) -> dict[str, int]:
        """Fan in of each part."""
        last = len(self.hidden)
        layers = {name: int(name.partition(".")[0]) for name in self.shapes}
        return {name: 0 if self.zero_head and layer == last else self.widths[layer] for name, layer in layers.items()}

    def __call__(
        self, weights: Float[Tensor, "n p"], code: Float[Tensor, "n i f"], state: State
    ) -> tuple[Tensor, State]:
        """See `Net`."""
        parts = self.parts(weights)
        for layer in range(len(self.hidden) + 1):
            if layer:
                code = ACTIVATIONS[self.activation](code)
            code = torch.baddbmm(parts[f"{layer}.bias"], code, parts[f"{layer}.weight"])
        return code, state


@dataclass(frozen=True)
class Recurrent(_Pieces):
    """Long short-term memory, then a linear map; the memory runs along the solver's iterates, for each item its own."""

    features: int
    hidden: int = 40
    layers: int = 2
    zero_head: bool = False

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Parts of the weight vector."""
        found: dict[str, tuple[int, ...]] = {}
        for layer in range(self.layers):
            before, gates = (self.hidden if layer else self.features), 4 * self.hidden
            found |= {f"{layer}.input": (before, gates), f"{layer}.memory": (self.hidden, gates)}
            found |= {f"{layer}.input_bias": (1, gates), f"{layer}.memory_bias": (1, gates)}  # two, as PyTorch has
        return found | {"head.weight": (self.hidden, self.features), "head.bias": (1, self.features)}

    @property
    def fans(self) -> dict[str, int]:
        """Fan in of each part."""
        return {name: 0 if self.zero_head and name.startswith("head") else self.hidden for name in self.shapes}

    def __call__(
        self, weights: Float[Tensor, "n p"], code: Float[Tensor, "n i f"], state: State
    ) -> tuple[Tensor, State]:
        """See `Net`."""
        parts = self.parts(weights)
        if not state:
            state = (code.new_zeros(*code.shape[:2], self.hidden),) * (2 * self.layers)
        after: list[Tensor] = []
        for layer in range(self.layers):
            output, cell = state[2 * layer : 2 * layer + 2]
            gates = torch.baddbmm(parts[f"{layer}.input_bias"], code, parts[f"{layer}.input"])
            gates = gates + torch.baddbmm(parts[f"{layer}.memory_bias"], output, parts[f"{layer}.memory"])
            enter, forget, new, leave = gates.chunk(4, dim=-1)
            cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
            code = leave.sigmoid() * cell.tanh()
            after += [code, cell]
        return torch.baddbmm(parts["head.bias"], code, parts["head.weight"]), tuple(after)


@dataclass(frozen=True)
class Convolved(_Pieces):
    """`layers` convolutions of one channel and `taps` taps along all features, then a linear map of each item."""

    features: int
    layers: int = 2
    taps: int = 3
    activation: Activation = "none"
    zero_head: bool = False

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Parts of the weight vector."""
        found: dict[str, tuple[int, ...]] = {}
        for layer in range(self.layers):
            found |= {f"{layer}.weight": (1, self.taps), f"{layer}.bias": ()}
        return found | {"head.weight": (self.features, self.features), "head.bias": (1, self.features)}

    @property
    def fans(self) -> dict[str, int]:
        """Fan in of each part."""
        head = 0 if self.zero_head else self.features
        return {name: head if name.startswith("head") else self.taps for name in self.shapes}

    def __call__(
        self, weights: Float[Tensor, "n p"], code: Float[Tensor, "n i f"], state: State
    ) -> tuple[Tensor, State]:
        """See `Net`."""
        parts = self.parts(weights)
        line = code.flatten(1)
        for layer in range(self.layers):
            rows = line[None]  # a group for each row: all nets' convolutions are one
            weight, bias = parts[f"{layer}.weight"], parts[f"{layer}.bias"]
            line = nn.functional.conv1d(rows, weight, bias, padding=self.taps // 2, groups=len(line))[0]
            line = ACTIVATIONS[self.activation](line)
        code = line.reshape(code.shape)
        return torch.baddbmm(parts["head.bias"], code, parts["head.weight"]), state


@dataclass(frozen=True)
class Free(_Pieces):
    """No net: the weights are the variable itself, which starts at the base point. The optimiser alone, to compare."""

    shape: tuple[int, ...]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Parts of the weight vector."""
        return {"variable": self.shape}

    @property
    def fans(self) -> dict[str, int]:
        """Zeros."""
        return {"variable": 0}

    def __call__(self, weights: Float[Tensor, "n p"], code: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Net`."""
        return self.parts(weights)["variable"], state


class Wrapped:
    """Any module as a net: `build` makes one, whose forward takes one code and returns one variable."""

    def __init__(self, build: Callable[[], nn.Module]) -> None:
        self.module = build()
        self.names = {name: weight.shape for name, weight in self.module.named_parameters()}
        self.parameters = sum(shape.numel() for shape in self.names.values())

    def draw(self, count: int, *, rng: torch.Generator, dtype: torch.dtype) -> Float[Tensor, "r p"]:
        """See `Net.draw`; drawn by `seeds.redraw`, on a CPU generator."""
        nets: list[Tensor] = []
        for _ in range(count):
            seeds.redraw(self.module, rng)
            nets.append(nn.utils.parameters_to_vector(self.module.parameters()).detach().to(dtype))
        return torch.stack(nets)

    def __call__(self, weights: Float[Tensor, "n p"], code: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Net`."""

        def one(vector: Tensor, item: Tensor) -> Tensor:
            pieces = vector.split([shape.numel() for shape in self.names.values()])
            parts = {name: piece.view(shape) for (name, shape), piece in zip(self.names.items(), pieces, strict=True)}
            return functional_call(self.module, parts, (item,))

        return vmap(one)(weights, code), state
