"""Published weights in our networks: names translated, shapes checked, the range of [0, 255] folded away.

How the authors name a network's layers stands in the network's own file (zoo.published_layout). Inner widths are read
from the shapes, so that a pruned net of the same layout comes in too.
"""

import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from srfoundry.core.addresses import resolve
from srfoundry.core.errors import DAMAGE, FoundryError
from srfoundry.networks.sr.network import SRNetwork
from srfoundry.networks.sr.prunable import widths_of
from srfoundry.networks.zoo.architectures import ARCHITECTURES, build
from srfoundry.networks.zoo.published_layout import PublishedLayout

WRAPPERS = ("params_ema", "params", "state_dict", "model")  # keys under which a file may hold the weights


def from_authors(
    weights: Mapping[str, Any] | Sequence[Any], arch: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Any]]:
    """A network with the authors' weights, for images in [0, 1], and its arch with the inner widths.

    Args:
        weights: the authors' state dict, bare or under one of WRAPPERS; of dual nets their list.
        arch: `name` and the dense net's keywords, as in `architectures.published`.

    Raises:
        FoundryError: a weight is missing, left over or of another shape.
    """
    kind = arch["name"]
    address = ARCHITECTURES[kind].published if kind in ARCHITECTURES else None
    if address is None:
        known = ", ".join(name for name, record in ARCHITECTURES.items() if record.published)
        raise FoundryError(f"published weights are known of {known}, got {kind!r}; name one of them")
    layout: PublishedLayout = resolve(address)
    theirs = _flat(weights)
    renamed = {_translated(name, layout, arch): value for name, value in theirs.items() if not _derived(name, layout)}
    arch = _with_inner_widths(arch, renamed)
    net = build(arch)
    _check(net.state_dict(), renamed, kind)
    net.load_state_dict(renamed)
    if layout.rescale is not None:
        layout.rescale(net)
    return net.eval(), dict(arch)


def to_authors(net: nn.Module, arch: Mapping[str, Any]) -> dict[str, Tensor]:
    """The authors' state dict of a network of ours: their names and what their file holds besides; the same numbers.

    Args:
        net: of the arch.
        arch: `name` and keywords, as in its card.

    Raises:
        FoundryError: the authors' network has another range of images, or has no pruned or grouped layers.
    """
    record = ARCHITECTURES.get(arch["name"])
    layout = None if record is None or record.published is None else resolve(record.published)
    if layout is None or layout.rescale is not None:
        raise FoundryError(
            f"a network in its authors' layout must be one for images in [0, 1], got {arch['name']!r}; "
            "swinir is, the others' authors train on [0, 255]"
        )
    if arch.get("inner") is not None or arch.get("grouped"):
        raise FoundryError(
            f"the authors' {arch['name']} must have its full widths, got a compressed one, which their program "
            "cannot build; take the net that it was compressed from"
        )
    theirs = {_theirs(name, layout, arch): value.detach().clone() for name, value in net.state_dict().items()}
    return {**theirs, **layout.derive(net)}


def _theirs(name: str, layout: PublishedLayout, arch: Mapping[str, Any]) -> str:
    """Their name for ours: `_translated` backwards. The groups of a rule stand in the same order on both sides."""
    places = layout.places(arch)
    for pattern, ours in layout.rules:
        for brace, place in places.items():
            pattern, ours = pattern.replace(brace, place), ours.replace(brace, place)
        groups = re.findall(r"\([^()]*\)", pattern)
        for number, group in enumerate(groups, start=1):
            ours, pattern = ours.replace(f"\\{number}", group), pattern.replace(group, f"\\{number}", 1)
        end = "$" if pattern.endswith("$") else ""
        match = re.match(re.sub(r"(?<!\\)\.", r"\.", ours) + end, name)
        if match is not None:
            return match.expand(pattern.removesuffix("$").replace(r"\.", ".")) + name[match.end() :]
    raise FoundryError(f"the layout of {arch['name']} must name every weight, got none for {name}; add a rule")


def _flat(weights: Any) -> dict[str, Tensor]:
    """The tensors by name: unwrapped, without DataParallel's prefix; a list's by their index."""
    if not isinstance(weights, Mapping):
        if not all(isinstance(part, Mapping) for part in weights):
            raise FoundryError(
                "weights must be named tensors or a list of such, got a list of other things; save state dicts"
            )
        return {f"{i}.{name}": value for i, part in enumerate(weights) for name, value in _flat(part).items()}
    weights = next((weights[key] for key in WRAPPERS if isinstance(weights.get(key), Mapping)), weights)
    bare = {str(name).removeprefix("module."): value for name, value in weights.items() if isinstance(value, Tensor)}
    return {name: value.float() for name, value in bare.items()}


def _derived(name: str, layout: PublishedLayout) -> bool:
    return layout.derived is not None and re.fullmatch(layout.derived, name) is not None


def _translated(name: str, layout: PublishedLayout, arch: Mapping[str, Any]) -> str:
    """Our name for theirs; one that no rule matches comes back behind a question mark, so that it is left over."""
    places = layout.places(arch)
    for pattern, ours in layout.rules:
        for brace, place in places.items():
            pattern, ours = pattern.replace(brace, place), ours.replace(brace, place)
        match = re.match(pattern, name)
        if match is not None:
            return match.expand(ours) + name[match.end() :]
    return f"? {name}"


def _with_inner_widths(arch: Mapping[str, Any], renamed: Mapping[str, Tensor]) -> Mapping[str, Any]:
    """The arch with `inner` if the consumers' shapes are those of a pruned net."""
    with torch.device("meta"):
        dense = build(arch)
    if not isinstance(dense, SRNetwork):
        return arch
    units = dense.units()
    readers = [renamed.get(f"{unit.consumer}.weight") for unit in units]
    widths = [
        width if reader is None or reader.ndim < 2 else reader.shape[1] // unit.spans
        for reader, unit, width in zip(readers, units, widths_of(dense, units), strict=True)
    ]
    return arch if widths == widths_of(dense, units) else {**arch, "inner": widths}


def _check(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], kind: str) -> None:
    missing = [name for name in wanted if name not in found]
    extra = [name.removeprefix("? ") for name in found if name not in wanted]
    shapes = {name: (tuple(value.shape), tuple(wanted[name].shape)) for name, value in found.items() if name in wanted}
    bent = [f"{name} {got} for {want}" for name, (got, want) in shapes.items() if got != want]
    wrong = [
        f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for what, names in (("missing", missing), ("unexpected", extra), ("of another shape", bent))
        if names
    ]
    if wrong:
        raise FoundryError(
            f"the file's weights must be those of this {kind}, got {', '.join(wrong)}; choose the name of its size"
        )


def read_foreign(path: Path) -> Any:
    """What somebody else's weights file holds: tensors by name, or a list of such; nothing but tensors is unpickled.

    Raises:
        FoundryError: the file is missing, damaged, or holds objects of the authors' own classes.
    """
    if not path.is_file():
        raise FoundryError(f"{path} not found; name the weights file that its authors published")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (*DAMAGE, SafetensorError, UnpicklingError, struct.error) as error:
        reason = " ".join(str(error).split())[:160]
        raise FoundryError(f"{path} must be a state dict of tensors, got {reason}; save it again as one") from None
    if not isinstance(found, (Mapping, list)):
        raise FoundryError(f"{path} must hold weights by name, got a {type(found).__name__}; save a state dict")
    return found
