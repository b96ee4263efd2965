"""Finished models on disk: a card plus tensors; nothing is ever unpickled."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import nn

from srfoundry.core.atomic import write_bytes
from srfoundry.core.errors import FoundryError
from srfoundry.networks.zoo.architectures import ARCHITECTURES, build
from srfoundry.networks.zoo.gather_conv import regroup

TRAINED_FOR = "trained_for"  # in metrics: degradation of the training pairs, its ranges, the dual map; none = bicubic


@dataclass(frozen=True)
class Card:
    """What a model's file says of it.

    Args:
        arch: `name` and the network's keywords, and under `grouped` the layers of a net whose filter groups choose
            what they read (zoo.gather_conv).
        scale: of the enlargement.
        multiple_of: what the sides of an input must divide by.
        made_by: the stage, or where the weights come from.
        params_hash: of the stage's parameters.
        metrics: of the validation; and TRAINED_FOR.
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
    plain = {key: value for key, value in card.arch.items() if key != "grouped"}
    name = card.arch.get("name")
    if name not in ARCHITECTURES:
        raise FoundryError(f"{path}: architecture {name!r} is unknown; known are {', '.join(sorted(ARCHITECTURES))}")
    try:
        net = regroup(build(plain), card.arch.get("grouped", {}))
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
