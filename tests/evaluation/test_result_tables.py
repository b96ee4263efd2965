"""Scores of photographs become the means and rows of metrics.json."""

import pytest
import torch

from srfoundry.core.seeds import generator
from srfoundry.evaluation.result_tables import ALIGNED, ResultTable, scored
from srfoundry.imaging import metrics, resize


def test_gains_are_over_bicubic_and_means_over_photographs() -> None:
    high = torch.rand(2, 1, 3, 32, 32, generator=generator(1))
    restored = [{"bicubic": (one + 0.1).clamp(0, 1), "net": (one + 0.02).clamp(0, 1)} for one in high]
    table = ResultTable(["bicubic", "gauss20"])
    for name, images, one in zip("ab", restored, high, strict=True):
        table.add("bicubic", name, scored(images, one, 2))
    psnr = [metrics.psnr_y(images["net"], one, 2) for images, one in zip(restored, high, strict=True)]
    means = table.means()
    assert list(means) == ["bicubic", "gauss20"] and means["gauss20"] == {}
    assert means["bicubic"]["net"]["psnr_y"] == pytest.approx(sum(psnr) / 2)
    assert means["bicubic"]["bicubic"]["gain_db"] == 0 < means["bicubic"]["net"]["gain_db"]
    assert table.photographs()["bicubic"]["net"] == dict(zip("ab", psnr, strict=True))


def test_niqe_is_there_on_request_and_its_mean_is_over_those_that_have_one() -> None:
    table = ResultTable(["photographs"])
    for name, side in (("large", 200), ("small", 64)):
        high = torch.rand(1, 3, side, side, generator=generator(2, name))
        table.add("photographs", name, scored({"bicubic": high}, high, 2, natural=True))
        assert "niqe" not in scored({"bicubic": high}, high, 2)["bicubic"]
    rows = table.rows["photographs"]["bicubic"]
    assert set(rows["large"]) - set(rows["small"]) == {"niqe"}
    assert table.means()["photographs"]["bicubic"]["niqe"] == rows["large"]["niqe"]


def test_gains_are_given_over_bicubic_on_the_originals_grid_too() -> None:
    high = torch.rand(1, 3, 32, 32, generator=generator(5))
    low = high[..., ::2, ::2]
    shown = {"bicubic": resize.cubic(low, 2), ALIGNED: resize.cubic_at(low, 2, 0.0), "best": high * 0.99}
    rows = scored({name: image.clamp(0, 1) for name, image in shown.items()}, high, 2)
    assert rows[ALIGNED]["gain_aligned_db"] == 0
    assert rows["best"]["gain_aligned_db"] == pytest.approx(rows["best"]["psnr_y"] - rows[ALIGNED]["psnr_y"])
