"""Finished models on disk: a card plus tensors; nothing is ever unpickled."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from math import prod
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from srfoundry.core import json_text
from srfoundry.core.atomic import write_bytes
from srfoundry.core.errors import DAMAGE, FoundryError
from srfoundry.networks.zoo.architectures import ARCHITECTURES, build
from srfoundry.networks.zoo.gather_conv import regroup

KINDS = {"arch": dict, "scale": int, "multiple_of": int, "made_by": str, "params_hash": str, "metrics": dict}
MOST_SCALE, MOST_MULTIPLE = 64, 4096
LARGEST = 2**20  # of a number in a card's arch; and weights that a net may have beside those of its file
GROUPED = 64  # times the file's weights that its dense net may have before its groups choose what they read
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
        params_hash: of the values that made it of the data, the stages' above it among them.
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
        _weigh(plain, path)
        net = regroup(build(plain), card.arch.get("grouped", {}))
        net.load_state_dict(safetensors.torch.load_file(path))
    except (*DAMAGE, SafetensorError, ArithmeticError, AssertionError, MemoryError) as error:
        reason = " ".join(str(error).split())[:200]
        raise FoundryError(f"{path}: the weights do not fit their card ({reason}); make the file again") from None
    return net.eval(), card


def read_card(path: Path) -> Card:
    """Read a model's card without its weights."""
    if not path.is_file():
        raise FoundryError(f"{path} not found; models are written by 'dvc repro'")
    try:
        with safe_open(path, framework="pt") as file:
            card = Card(**json_text.read(file.metadata()["card"]))
        _check(card)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise FoundryError(f"{path} is damaged or no srfoundry model ({reason}); remove it and run its stage") from None
    return card


def _check(card: Card) -> None:
    """Refuse a card whose values are not of their kinds."""
    for field in fields(card):
        value, kind = getattr(card, field.name), KINDS[field.name]
        if type(value) is not kind:
            raise ValueError(f"{field.name} must be {kind.__name__}, got {repr(value)[:80]}")
    if not isinstance(card.arch.get("name"), str):
        raise ValueError("its arch names no network")
    if not (1 <= card.scale <= MOST_SCALE and 1 <= card.multiple_of <= MOST_MULTIPLE):
        raise ValueError(f"scale {card.scale} or multiple_of {card.multiple_of} is none of a network")


def _weigh(arch: dict[str, Any], path: Path) -> None:
    """Build the network without memory for its weights, and compare it with the file's.

    Raises:
        ValueError: what the card claims has far more layers or numbers than the file.
    """
    with safe_open(path, framework="pt") as file:
        held = [prod(file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118  (no mapping)
    left = 8 * len(held) + 1000

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise ValueError(f"its card claims many more layers than its {len(held)} tensors are of")

    if any(number > LARGEST for number in _numbers(arch)):
        raise ValueError(f"its card claims sizes above {LARGEST:,}")
    watch = register_module_parameter_registration_hook(count)
    try:
        with torch.device("meta"):
            claimed = sum(value.numel() for value in build(arch).state_dict().values())
    finally:
        watch.remove()
    if claimed > GROUPED * sum(held) + LARGEST:
        raise ValueError(f"its card claims {claimed:,} weights, the file holds {sum(held):,}")


def _numbers(whole: Any) -> Iterator[float]:
    if isinstance(whole, (int, float)):
        yield abs(whole)
    elif isinstance(whole, (dict, list)):
        for each in whole.values() if isinstance(whole, dict) else whole:
            yield from _numbers(each)
