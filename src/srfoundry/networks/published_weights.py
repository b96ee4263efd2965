"""Published weights in this house's networks: names translated, shapes checked, the range of [0, 255] folded away.

Each table says how the authors call a layer and how we do. Inner widths are
read from the shapes, so that a pruned net of the same layout comes in too. A net that was trained on images in
[0, 255] gives, with its first weights times 255 and its last over 255, just its images over 255 for images in [0, 1].
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

from srfoundry.core.errors import DAMAGE, FoundryError
from srfoundry.networks.sr.drn import DRN
from srfoundry.networks.sr.duals import DualNets
from srfoundry.networks.sr.edsr import EDSR
from srfoundry.networks.sr.prunable import widths_of
from srfoundry.networks.sr.swinir import SwinIR

Rules = Sequence[tuple[str, str]]  # a pattern at the start of their name, and ours; braces as `_places` fills them

DRN_RULES: Rules = [  # guoyongcs/DRN and DRC
    (r"sub_mean\.", r"subtract."),
    (r"add_mean\.", r"add."),
    (r"head\.", r"head."),
    (r"down\.(\d+)\.dual_module\.0\.0\.", r"downs.\1.reduce."),
    (r"down\.(\d+)\.dual_module\.1\.", r"downs.\1.expand."),
    (r"up_blocks\.(\d+)\.(\d+)\.body\.0\.", r"ups.\1.blocks.\2.first."),
    (r"up_blocks\.(\d+)\.(\d+)\.body\.2\.", r"ups.\1.blocks.\2.second."),
    (r"up_blocks\.(\d+)\.(\d+)\.body\.3\.conv_du\.0\.", r"ups.\1.blocks.\2.squeeze."),
    (r"up_blocks\.(\d+)\.(\d+)\.body\.3\.conv_du\.2\.", r"ups.\1.blocks.\2.excite."),
    (r"up_blocks\.(\d+)\.{blocks}\.0\.", r"ups.\1.spread."),
    (r"up_blocks\.(\d+)\.{merge}\.", r"ups.\1.merge."),
    (r"tail\.(\d+)\.", r"tails.\1."),
]
DUAL_RULES: Rules = [
    (r"(\d+)\.dual_module\.0\.0\.", r"\1.reduce."),
    (r"(\d+)\.dual_module\.1\.", r"\1.paint."),
]
EDSR_RULES: Rules = [  # sanghyun-son/EDSR-PyTorch; pixel shuffles take the odd places of its upsampler
    (r"sub_mean\.", r"subtract."),
    (r"add_mean\.", r"add."),
    (r"head\.0\.", r"head."),
    (r"body\.(\d+)\.body\.0\.", r"blocks.\1.first."),
    (r"body\.(\d+)\.body\.2\.", r"blocks.\1.second."),
    (r"body\.{blocks}\.", r"fuse."),
    (r"tail\.0\.0\.", r"ups.0."),
    (r"tail\.0\.2\.", r"ups.1."),
    (r"tail\.0\.4\.", r"ups.2."),
    (r"tail\.1\.", r"tail."),
]
SWINIR_BLOCK = r"layers\.(\d+)\.residual_group\.blocks\.(\d+)\."
SWINIR_RULES: Rules = [  # JingyunLiang/SwinIR
    (r"conv_first\.", r"head."),
    (r"patch_embed\.norm\.", r"enter."),
    (SWINIR_BLOCK + r"attn\.relative_position_bias_table$", r"groups.\1.blocks.\2.attn.table"),
    (SWINIR_BLOCK + r"(attn\.qkv|attn\.proj|mlp\.fc1|mlp\.fc2|norm1|norm2)\.", r"groups.\1.blocks.\2.\3."),
    (r"layers\.(\d+)\.conv\.", r"groups.\1.fuse."),
    (r"norm\.", r"leave."),
    (r"conv_after_body\.", r"fuse."),
    (r"conv_before_upsample\.0\.", r"before."),
    (r"upsample\.0\.", r"{upsample}."),
    (r"upsample\.2\.", r"ups.1."),
    (r"upsample\.4\.", r"ups.2."),
    (r"conv_last\.", r"tail."),
]
KINDS: dict[str, tuple[type[nn.Module], Rules]] = {
    "drn": (DRN, DRN_RULES),
    "drn_duals": (DualNets, DUAL_RULES),
    "edsr": (EDSR, EDSR_RULES),
    "swinir": (SwinIR, SWINIR_RULES),
}
DERIVED = re.compile(SWINIR_BLOCK + r"(attn\.relative_position_index|attn_mask)$")  # buffers that follow from the sizes
WRAPPERS = ("params_ema", "params", "state_dict", "model")  # keys under which a file may hold the weights
WHITE = 255.0  # of the images that the authors of DRN and EDSR train on; SwinIR's are in [0, 1]


def known() -> dict[str, dict[str, Any]]:
    """What each published name is: the card's `name` and the network's keywords."""
    found: dict[str, dict[str, Any]] = {}
    for scale, size, blocks, width in ((4, "s", 30, 16), (4, "l", 40, 20), (8, "s", 30, 8), (8, "l", 36, 10)):
        found[f"drn-{size}-x{scale}"] = {"name": "drn", "scale": scale, "blocks": blocks, "width": width}
        found[f"drn-{size}-duals-x{scale}"] = {"name": "drn_duals", "scale": scale, "width": width}
    for scale in (2, 3, 4):
        found[f"edsr-baseline-x{scale}"] = {"name": "edsr", "scale": scale, "blocks": 16, "width": 64}
        found[f"edsr-x{scale}"] = {"name": "edsr", "scale": scale, "blocks": 32, "width": 256, "strength": 0.1}
        found[f"swinir-light-x{scale}"] = {"name": "swinir", "scale": scale}
    for scale in (2, 3, 4, 8):
        classical = {"name": "swinir", "scale": scale, "depths": [6] * 6, "width": 180, "direct": False}
        found[f"swinir-x{scale}"] = classical
    return dict(sorted(found.items()))


def from_authors(
    weights: Mapping[str, Any] | Sequence[Any], arch: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Any]]:
    """A network of this house with the authors' weights, for images in [0, 1], and its arch with the inner widths.

    Args:
        weights: the authors' state dict, bare or under one of WRAPPERS; of dual nets their list.
        arch: `name` (a key of KINDS) and the dense net's keywords, as in `known`.

    Raises:
        FoundryError: a weight is missing, left over or of another shape.
    """
    kind, keywords = arch["name"], {key: value for key, value in arch.items() if key != "name"}
    if kind not in KINDS:
        raise FoundryError(f"published weights are known of {', '.join(KINDS)}, got {kind!r}; name one of them")
    made, rules = KINDS[kind]
    theirs = _flat(weights)
    renamed = {_translated(name, rules, _places(keywords)): value for name, value in theirs.items()}
    keywords = _pruned(made, keywords, renamed)
    net = made(**keywords)
    _check(net.state_dict(), renamed, kind)
    net.load_state_dict(renamed)
    if isinstance(net, (DRN, EDSR)):
        _fold_range(net)
    return net.eval(), {"name": kind, **keywords}


def _flat(weights: Any) -> dict[str, Tensor]:
    """The tensors by name: unwrapped, without DataParallel's prefix and derived buffers; a list's by their index."""
    if not isinstance(weights, Mapping):
        if not all(isinstance(part, Mapping) for part in weights):
            raise FoundryError(
                "weights must be named tensors or a list of such, got a list of other things; save state dicts"
            )
        return {f"{i}.{name}": value for i, part in enumerate(weights) for name, value in _flat(part).items()}
    weights = next((weights[key] for key in WRAPPERS if isinstance(weights.get(key), Mapping)), weights)
    bare = {str(name).removeprefix("module."): value for name, value in weights.items() if isinstance(value, Tensor)}
    return {name: value.float() for name, value in bare.items() if DERIVED.fullmatch(name) is None}


def _places(keywords: Mapping[str, Any]) -> dict[str, str]:
    """What the braces of the rules stand for in a net of these keywords."""
    blocks = keywords.get("blocks", 0)
    upsample = "tail" if keywords.get("direct", True) else "ups.0"
    return {"{blocks}": str(blocks), "{merge}": str(blocks + 1), "{upsample}": upsample}


def _translated(name: str, rules: Rules, places: Mapping[str, str]) -> str:
    """Our name for theirs; one that no rule knows comes back behind a question mark, so that it is left over."""
    for pattern, ours in rules:
        for brace, place in places.items():
            pattern, ours = pattern.replace(brace, place), ours.replace(brace, place)
        match = re.match(pattern, name)
        if match is not None:
            return match.expand(ours) + name[match.end() :]
    return f"? {name}"


def _pruned(made: Any, keywords: dict[str, Any], renamed: Mapping[str, Tensor]) -> dict[str, Any]:
    """The keywords with `inner` if the consumers' shapes are those of a pruned net."""
    if made is DualNets:
        return keywords
    with torch.device("meta"):
        dense = made(**keywords)
    units = dense.units()
    readers = [renamed.get(f"{unit.consumer}.weight") for unit in units]
    widths = [
        width if reader is None or reader.ndim < 2 else reader.shape[1] // unit.spans
        for reader, unit, width in zip(readers, units, widths_of(dense, units), strict=True)
    ]
    return keywords if widths == widths_of(dense, units) else {**keywords, "inner": widths}


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


def _fold_range(net: DRN | EDSR) -> None:
    """Let a net for images in [0, 255] take and give images in [0, 1], in place."""
    tails = net.tails if isinstance(net, DRN) else [net.tail]
    with torch.no_grad():
        net.head.weight.mul_(WHITE)
        for tail in tails:
            assert isinstance(tail, nn.Conv2d) and tail.bias is not None
            tail.weight.div_(WHITE)
            tail.bias.div_(WHITE)
        net.subtract.bias.div_(WHITE)
        net.add.bias.div_(WHITE)


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
