"""Weights on disk: finished models as a card plus tensors, and training states that survive a kill."""

import json
import os
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol, runtime_checkable

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from srfoundry.errors import FoundryError
from srfoundry.networks.corrector import Corrector
from srfoundry.networks.drn import DRN
from srfoundry.networks.duals import DualNets, StraightDual
from srfoundry.networks.edsr import EDSR
from srfoundry.networks.grouped import regroup
from srfoundry.networks.kernel_dual import KernelDual
from srfoundry.networks.mzsr import MZSR
from srfoundry.networks.swinir import SwinIR
from srfoundry.networks.usrnet import USRNet

# What reading damaged bytes can end in, besides the unpickler's own errors.
DAMAGE = (RuntimeError, LookupError, TypeError, ValueError, AttributeError, EOFError, OSError)
# The one place where a name becomes a class.
ARCHITECTURES: dict[str, type[nn.Module]] = {
    "mzsr": MZSR,
    "drn": DRN,
    "drn_duals": DualNets,
    "edsr": EDSR,
    "swinir": SwinIR,
    "straight_dual": StraightDual,
    "kernel_dual": KernelDual,
    "usrnet": USRNet,
    "corrector": Corrector,
}


@runtime_checkable  # for the shape checks of the tests
class Stateful(Protocol):
    """Anything with PyTorch's pair of state methods: networks, optimisers, averages."""

    def state_dict(self) -> Any: ...

    def load_state_dict(self, state_dict: Any) -> Any: ...


@dataclass(frozen=True)
class Card:
    """What a model's file says of it.

    `arch` holds `name` and the network's keywords, and under `grouped` the layers of a net whose filter groups choose
    what they read (networks.grouped); `multiple_of` is what input sizes must divide by.
    """

    arch: dict[str, Any]
    scale: int
    multiple_of: int
    made_by: str
    params_hash: str
    metrics: dict[str, Any]


def save(
    path: Path,
    net: nn.Module,
    *,
    arch: dict[str, Any],
    scale: int,
    made_by: str,
    params_hash: str,
    metrics: dict[str, Any] | None = None,
) -> None:
    """Write a network and its card to one safetensors file, atomically; equal input gives equal bytes."""
    multiple_of = int(getattr(net, "multiple_of", 1))
    card = Card(arch, scale, multiple_of, made_by, params_hash, metrics or {})
    tensors = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
    # One metadata entry only: safetensors does not keep the order of several.
    blob = safetensors.torch.save(tensors, metadata={"card": json.dumps(asdict(card), sort_keys=True)})
    write_bytes(path, blob)


def load(path: Path) -> tuple[nn.Module, Card]:
    """Rebuild a network in evaluation mode, with its card.

    Raises:
        FoundryError: the file is missing, damaged, of an unknown architecture, or its weights do not fit its card.
    """
    card = read_card(path)
    keywords = {key: value for key, value in card.arch.items() if key not in ("name", "grouped")}
    name = card.arch.get("name")
    if name not in ARCHITECTURES:
        raise FoundryError(f"{path}: architecture {name!r} is unknown; known are {', '.join(sorted(ARCHITECTURES))}")
    try:
        net = regroup(ARCHITECTURES[name](**keywords), card.arch.get("grouped", {}))
        net.load_state_dict(safetensors.torch.load_file(path))
    except (SafetensorError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise FoundryError(f"{path}: the weights do not fit their card ({reason}); make the file again") from None
    return net.eval(), card


def read_card(path: Path) -> Card:
    """Read a model's card without its weights."""
    if not path.is_file():
        raise FoundryError(f"{path} not found; models are written by 'dvc repro'")
    try:
        with safe_open(path, framework="pt") as file:
            return Card(**json.loads(file.metadata()["card"]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise FoundryError(f"{path} is damaged or no srfoundry model ({error}); remove it and run its stage") from None


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


def save_state(path: Path, key: str, state: Mapping[str, Stateful], step: int, history: list[dict[str, float]]) -> None:
    """Write a training state, atomically, so that a kill at any moment leaves the last one whole."""
    from io import BytesIO

    whole = {name: part.state_dict() for name, part in state.items()}
    buffer = BytesIO()
    torch.save({"key": key, "step": step, "history": history, "state": whole}, buffer)
    write_bytes(path, buffer.getvalue())


def load_state(path: Path, key: str, state: Mapping[str, Stateful]) -> tuple[int, list[dict[str, float]]]:
    """Fill `state` from a training state and return its step and history; (0, []) if there is none for this key.

    The key stands for params, data and code: a state with another key is of another experiment and is not used.

    Raises:
        FoundryError: the file is damaged.
    """
    if not path.exists():
        return 0, []
    try:
        whole = torch.load(path, map_location="cpu", weights_only=True)
        if whole["key"] != key:
            return 0, []
        for name, part in state.items():
            part.load_state_dict(whole["state"][name])
        return int(whole["step"]), list(whole["history"])
    except (*DAMAGE, UnpicklingError, struct.error) as error:
        reason = " ".join(str(error).split())[:160]
        raise FoundryError(f"checkpoint {path} is damaged ({reason}); delete it to start the stage afresh") from None


def write_bytes(path: Path, blob: bytes) -> None:
    """Write a file so that it is either the old one or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(blob)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
