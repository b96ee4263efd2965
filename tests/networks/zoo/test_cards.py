"""Models come back as they were, or say in one line why not; nothing is ever unpickled."""

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from srfoundry.core import seeds
from srfoundry.core.errors import FoundryError
from srfoundry.networks.adaptive.mzsr import MZSR
from srfoundry.networks.zoo import cards

ARCH: dict[str, Any] = {"name": "mzsr", "width": 4, "depth": 3}
REST: dict[str, Any] = {"arch": ARCH, "scale": 2, "made_by": "pretrain", "params_hash": "0" * 16}


def net() -> MZSR:
    made = MZSR(width=4, depth=3)
    seeds.redraw(made, seeds.generator(1, "test"))
    return made


def test_a_model_returns_with_its_card_and_equal_bytes(tmp_path: Path) -> None:
    made = net()
    cards.save(tmp_path / "a.safetensors", made, **REST, metrics={"psnr_y": 30.0, "rates": [0.1]})
    cards.save(tmp_path / "b.safetensors", made, **REST, metrics={"psnr_y": 30.0, "rates": [0.1]})
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    back, card = cards.load(tmp_path / "a.safetensors")
    assert card.arch == ARCH and card.metrics["psnr_y"] == 30.0 and not back.training
    x = torch.rand(1, 3, 9, 8, generator=seeds.generator(2))
    assert back(x).equal(made(x))


def test_parameters_as_published() -> None:
    assert sum(weight.numel() for weight in MZSR().parameters()) == 225_091


def test_bad_model_files_are_said(tmp_path: Path) -> None:
    good = tmp_path / "good.safetensors"
    cards.save(good, net(), **REST)
    (tmp_path / "cut.safetensors").write_bytes(good.read_bytes()[:-40])
    (tmp_path / "text.safetensors").write_text("no model")
    torch.save({"a": 1}, tmp_path / "pickle.safetensors")
    for name, lie in (("other", {"name": "vdsr"}), ("wide", {"width": 5}), ("odd", {"size": 5})):
        rest: dict[str, Any] = {**REST, "arch": {**ARCH, **lie}}
        cards.save(tmp_path / f"{name}.safetensors", net(), **rest)
    for name in ("cut", "text", "pickle", "other", "wide", "odd"):
        with pytest.raises(FoundryError, match=f"{name}.safetensors"):
            cards.load(tmp_path / f"{name}.safetensors")
    with pytest.raises(FoundryError, match="models are written by .dvc repro."):
        cards.load(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        ({"arch": {**ARCH, "width": 2**18}}, "claims .* weights"),
        ({"arch": {**ARCH, "width": 2**40}}, "claims sizes above"),
        ({"arch": {**ARCH, "depth": 2**19}}, "claims many more layers"),
        ({"arch": {**ARCH, "width": float("nan")}}, "do not fit"),
        ({"arch": {"name": []}}, "names no network"),
        ({"arch": [1]}, "a.safetensors"),
        ({"scale": 2**30}, "is none of a network"),
        ({"scale": True}, "a.safetensors"),
        ({"metrics": json.loads("[" * 300 + "]" * 300)}, "levels deep"),
    ],
    ids=str,
)
def test_a_card_that_claims_more_than_its_file_holds_is_refused(tmp_path: Path, lie: dict[str, Any], said: str) -> None:
    card = {**REST, "multiple_of": 1, "metrics": {}, **lie}
    blob = safetensors.torch.save(dict(net().state_dict()), metadata={"card": json.dumps(card)})
    (tmp_path / "a.safetensors").write_bytes(blob)
    with pytest.raises(FoundryError, match=said) as caught:
        cards.load(tmp_path / "a.safetensors")
    assert "a.safetensors" in str(caught.value) and "\n" not in str(caught.value)
