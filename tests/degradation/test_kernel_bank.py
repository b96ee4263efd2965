"""A bank says where each of its kernels comes from, and the settings name the families that there are."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import Stream
from srfoundry.degradation import kernel_bank, kernels
from srfoundry.degradation.kernel_families import FAMILIES
from srfoundry.degradation.settings import BankDraw, FamilyCounts

NONE = FamilyCounts(**dict.fromkeys(FAMILIES, 0))


def one(size: int) -> torch.Tensor:
    values = (torch.tensor([value], dtype=torch.float64) for value in (2.0, 1.0, 0.3))
    return kernels.gaussian(size, *values)[0].float()


def draw(root: Path, counts: FamilyCounts, size: int = 15) -> kernel_bank.Bank:
    wanted = BankDraw(kernel_size=size, bank=counts, kernels=".")
    return kernel_bank.draw(wanted, root, scale=2, stream=Stream(1, "bank"))


def test_settings_count_every_family() -> None:
    assert [field.name for field in fields(FamilyCounts)] == list(FAMILIES)


def test_a_bank_says_where_every_kernel_comes_from(tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", one(5).numpy())
    wanted = replace(NONE, gaussian=3, line=2, trajectory=1)
    bank = draw(tmp_path, wanted)
    assert bank.kernels.shape == (7, 15, 15) and len(bank.manifest) == 7
    kernels.check(bank.kernels)
    assert bank.kernels[-1, 5:10, 5:10].equal(one(5))
    kernel_bank.write(bank, tmp_path / "bank")
    rows = json.loads((tmp_path / "bank" / "bank.json").read_text())
    assert [row["family"] for row in rows] == ["gaussian"] * 3 + ["line"] * 2 + ["trajectory", "file"]
    row = (torch.tensor([rows[1][key]], dtype=torch.float64) for key in ("variance1", "variance2", "theta"))
    remade = kernels.gaussian(15, *row)[0]  # the manifest is enough to make the kernel again
    assert float((remade - bank.kernels[1]).abs().max()) < 1e-6
    more = draw(tmp_path, replace(wanted, gaussian=5))
    assert more.kernels[5:].equal(bank.kernels[3:]), "one family's count changes another's kernels"


def test_impossible_banks_are_said(tmp_path: Path) -> None:
    np.save(tmp_path / "large.npy", one(9).numpy())
    with pytest.raises(FoundryError, match="raise synthesize.kernel_size"):
        draw(tmp_path, NONE, 5)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FoundryError, match="empty"):
        draw(tmp_path / "empty", NONE, 5)
