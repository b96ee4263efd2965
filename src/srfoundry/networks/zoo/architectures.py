"""The networks by name: a record each, with all that the other packages need before one is built.

A new network is its own file and a record here. Nothing is imported until a network is built, so a stage's code
contains the networks that it builds and no others, and settings can be checked without PyTorch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from srfoundry.core.addresses import resolve

if TYPE_CHECKING:
    from torch import nn

Role = Literal["primal", "dual", "adaptive", "nonblind", "corrector", "classifier", "fusion"]
Keywords = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A network before it is built: where it stands, what it is for, and how settings become its keywords.

    Args:
        role: primal (low -> high), dual (high -> low), adaptive (trained at test time), nonblind (conditioned on a
            kernel), corrector (finds a kernel, or corrects one), classifier (of degradations) or fusion (of
            restorations).
        network: "module:Class".
        start: of a primal, "module:function" that sets a freshly drawn net, in place, to give nearly the bicubic image.
        dual: name of the dual nets that a primal is trained with.
        depth: of a primal, the keywords that its number of blocks in params.yaml stands for.
        width_multiple: what a primal's width must be a multiple of.
        published: "module:NAME" of the layout of its published weights.
        sizes: name of published weights -> the net's keywords.
    """

    role: Role
    network: str
    start: str | None = None
    dual: str | None = None
    depth: Callable[[int], dict[str, Any]] = field(default=lambda blocks: {"blocks": blocks})
    width_multiple: int = 1
    published: str | None = None
    sizes: Mapping[str, Keywords] = field(default_factory=dict)

    def build(self, **keywords: Any) -> "nn.Module":
        """The untrained network."""
        return resolve(self.network)(**keywords)

    def start_at_bicubic(self, net: "nn.Module") -> None:
        """Set a freshly drawn net to give nearly the bicubic image, if it has such a start; in place."""
        if self.start is not None:
            resolve(self.start)(net)


def build(arch: Keywords) -> "nn.Module":
    """The untrained network of a card's arch: its `name` and keywords.

    Raises:
        KeyError: there is no network of that name.
        TypeError, ValueError: the keywords are not this network's.
    """
    return ARCHITECTURES[arch["name"]].build(**{key: value for key, value in arch.items() if key != "name"})


def names(role: Role) -> list[str]:
    """The networks of a role."""
    return [name for name, record in ARCHITECTURES.items() if record.role == role]


def published() -> dict[str, dict[str, Any]]:
    """For each name of published weights the arch of its card: the network's `name` and keywords."""
    found = {
        size: {"name": name, **keywords}
        for name, record in ARCHITECTURES.items()
        for size, keywords in record.sizes.items()
    }
    return dict(sorted(found.items()))


_DRN = ((4, "s", 30, 16), (4, "l", 40, 20), (8, "s", 30, 8), (8, "l", 36, 10))
_EDSR = {"edsr-baseline": {"blocks": 16, "width": 64}, "edsr": {"blocks": 32, "width": 256, "strength": 0.1}}
_SWINIR_CLASSICAL = {"depths": [6] * 6, "width": 180, "direct": False}
# Addresses in pieces: by its imports, a stage depends on the networks that it builds and no others.
_NETWORKS = "srfoundry.networks"
_SR, _NONBLIND = f"{_NETWORKS}.sr", f"{_NETWORKS}.nonblind"

ARCHITECTURES: dict[str, Architecture] = {
    "drn": Architecture(
        role="primal",
        network=f"{_SR}.drn:DRN",
        start=f"{_SR}.drn:start_at_bicubic",
        dual="drn_duals",
        published=f"{_SR}.drn:PUBLISHED",
        sizes={f"drn-{s}-x{scale}": {"scale": scale, "blocks": n, "width": f} for scale, s, n, f in _DRN},
    ),
    "edsr": Architecture(
        role="primal",
        network=f"{_SR}.edsr:EDSR",
        start=f"{_SR}.edsr:start_at_bicubic",
        dual="straight_dual",
        published=f"{_SR}.edsr:PUBLISHED",
        sizes={f"{name}-x{scale}": {"scale": scale, **size} for name, size in _EDSR.items() for scale in (2, 3, 4)},
    ),
    "swinir": Architecture(
        role="primal",
        network=f"{_SR}.swinir:SwinIR",
        start=f"{_SR}.swinir:start_at_bicubic",
        dual="straight_dual",
        depth=lambda blocks: {"depths": [6] * blocks},
        width_multiple=6,
        published=f"{_SR}.swinir:PUBLISHED",
        sizes={
            **{f"swinir-light-x{scale}": {"scale": scale} for scale in (2, 3, 4)},
            **{f"swinir-x{scale}": {"scale": scale, **_SWINIR_CLASSICAL} for scale in (2, 3, 4, 8)},
        },
    ),
    "conditioned": Architecture(
        role="primal",
        network=f"{_SR}.conditioned:Conditioned",
        start=f"{_SR}.conditioned:start_at_bicubic",
        dual="straight_dual",
    ),
    "drn_duals": Architecture(
        role="dual",
        network=f"{_SR}.duals:DualNets",
        published=f"{_SR}.duals:PUBLISHED",
        sizes={f"drn-{s}-duals-x{scale}": {"scale": scale, "width": f} for scale, s, _, f in _DRN},
    ),
    "straight_dual": Architecture(role="dual", network=f"{_SR}.duals:StraightDual"),
    "kernel_dual": Architecture(role="dual", network=f"{_SR}.kernel_dual:KernelDual"),
    "mzsr": Architecture(role="adaptive", network=f"{_NETWORKS}.adaptive.mzsr:MZSR"),
    "usrnet": Architecture(
        role="nonblind", network=f"{_NONBLIND}.usrnet:USRNet", start=f"{_NONBLIND}.usrnet:start_plain"
    ),
    "corrector": Architecture(role="corrector", network=f"{_NONBLIND}.corrector:Corrector"),
    "classifier": Architecture(role="classifier", network=f"{_NONBLIND}.degradation_classifier:DegradationClassifier"),
    "unfolded": Architecture(role="corrector", network=f"{_NONBLIND}.unfolded:Unfolded"),
    "kernel_step": Architecture(role="corrector", network=f"{_NONBLIND}.kernel_step:KernelStep"),
    "fusion": Architecture(role="fusion", network=f"{_NONBLIND}.fusion:Fusion"),
}
