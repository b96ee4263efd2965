"""Our own files for spandrel, which knows no DRN: `spandrel.MAIN_REGISTRY.add(*spandrel_plugin.support())`.

spandrel gives an architecture the tensors alone, so the network is rebuilt from their names and shapes. That does for
DRN and SwinIR, compressed ones too. An EDSR's residual scaling stands in no tensor, and filter groups
(`compress.method: msgc`) want their lists of channels: these go by .onnx.
"""

import importlib
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from srfoundry.networks.zoo.architectures import build

State = Mapping[str, Tensor]


def support() -> list[Any]:
    """What spandrel's registry takes (`ArchSupport`), one record a network.

    Raises:
        ModuleNotFoundError: spandrel is not installed.
    """
    spandrel: Any = importlib.import_module("spandrel")

    def record(name: str) -> Any:
        class Ours(spandrel.Architecture):
            def __init__(self) -> None:
                super().__init__(id=f"srfoundry {name}", detect=lambda state: _kind(state) == name)

            def load(self, state_dict: State) -> Any:
                arch = arch_of(state_dict)
                net = build(arch)
                return spandrel.ImageModelDescriptor(
                    net,
                    state_dict,
                    architecture=self,
                    purpose="SR",
                    tags=["compressed"] if "inner" in arch else [],
                    supports_half=False,  # untried
                    supports_bfloat16=True,
                    scale=arch["scale"],
                    input_channels=3,
                    output_channels=3,
                    size_requirements=spandrel.SizeRequirements(multiple_of=getattr(net, "multiple_of", 1)),
                )

        return spandrel.ArchSupport.from_architecture(Ours())

    return [record(name) for name in _READ]


def arch_of(state: State) -> dict[str, Any]:
    """The arch of a card, `name` and keywords, read off the tensors of one of our checkpoints.

    Raises:
        KeyError: they are those of no network that can be read off.
    """
    return _READ[_kind(state) or ""](state)


def _kind(state: State) -> str | None:
    if "downs.0.reduce.weight" in state and "ups.0.blocks.0.squeeze.weight" in state:
        return "drn"
    if "groups.0.blocks.0.attn.table" in state and "leave.weight" in state:
        return "swinir"
    return None


def _drn(state: State) -> dict[str, Any]:
    phases, blocks = _count(state, "downs.{}.reduce.weight"), _count(state, "ups.0.blocks.{}.first.weight")
    inner, scale = [state[f"downs.{i}.reduce.weight"].shape[0] for i in range(phases)], 1
    for i in range(phases):
        inner += [state[f"ups.{i}.blocks.{j}.first.weight"].shape[0] for j in range(blocks)]
        inner.append(state[f"ups.{i}.merge.weight"].shape[1])
        scale *= round((state[f"ups.{i}.spread.weight"].shape[0] / inner[-1]) ** 0.5)
    width = state["head.weight"].shape[0]
    return _plain({"name": "drn", "scale": scale, "blocks": blocks, "width": width}, inner)


def _swinir(state: State) -> dict[str, Any]:
    groups = _count(state, "groups.{}.fuse.weight")
    depths = [_count(state, f"groups.{i}.blocks.{{}}.attn.table") for i in range(groups)]
    rows, heads = state["groups.0.blocks.0.attn.table"].shape
    stems = [f"groups.{i}.blocks.{j}" for i, depth in enumerate(depths) for j in range(depth)]
    sizes = [(state[f"{stem}.attn.proj.weight"].shape[1], state[f"{stem}.mlp.fc1.weight"].shape[0]) for stem in stems]
    inner = [width for attention, mlp in sizes for width in (attention // heads, mlp)]
    width, direct = state["head.weight"].shape[0], "before.weight" not in state
    shuffles = 1 if direct else _count(state, "ups.{}.weight")
    scale = 1
    for i in range(shuffles):
        out = state["tail.weight" if direct else f"ups.{i}.weight"].shape
        scale *= round((out[0] / (3 if direct else out[1])) ** 0.5)
    found = {
        "name": "swinir",
        "scale": scale,
        "depths": depths,
        "width": width,
        "heads": heads,
        "window": (round(rows**0.5) + 1) // 2,
        "direct": direct,
    }
    return _plain(found, inner)


_READ = {"drn": _drn, "swinir": _swinir}


def _plain(arch: dict[str, Any], inner: list[int]) -> dict[str, Any]:
    """With the inner widths, unless the dense net has just these."""
    dense = build(arch)
    names = {name: tuple(value.shape) for name, value in dense.state_dict().items()}
    pruned = build({**arch, "inner": inner})
    same = names == {name: tuple(value.shape) for name, value in pruned.state_dict().items()}
    return arch if same else {**arch, "inner": inner}


def _count(state: State, pattern: str) -> int:
    """How many of a row of names there are, from 0 on."""
    found = 0
    while pattern.format(found) in state:
        found += 1
    return found
