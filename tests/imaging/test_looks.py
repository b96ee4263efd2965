"""What is said of results with and without an original."""

import pytest
import torch
from PIL import Image

from srfoundry.core.seeds import generator
from srfoundry.imaging import images, looks, niqe, resize

LOW = images.read(looks.free_photographs()[2])[..., :120, :140]
MEMBERS = {"soft": lambda low: resize.cubic(low, 2), "loud": lambda low: resize.cubic(low, 2) * 1.5}


def test_a_look_holds_what_files_would() -> None:
    found = looks.look("cat", LOW, MEMBERS, 2)
    assert list(found.shown) == ["bicubic", "soft", "loud"] and found.scale == 2
    assert found.shown["loud"].max() == 1.0
    for image in found.shown.values():
        assert torch.equal(image, images.from_uint8(images.to_uint8(image)))
    scores = found.scores()
    assert scores["bicubic"] == scores["soft"] == {"niqe": niqe.niqe(found.shown["soft"])}


def test_with_an_original_there_are_all_three_scores() -> None:
    low = images.from_uint8(images.to_uint8(resize.cubic(LOW[..., :120, :120], 0.5)))
    rows = looks.look("cat", low, MEMBERS, 2, LOW[..., :120, :120]).scores()
    assert set(rows["soft"]) == {"psnr_y", "ssim_y"}, "120 pixels are too few for NIQE"
    rows = looks.look("cat", LOW, {}, 2, resize.cubic(LOW, 2)).scores()
    assert set(rows["bicubic"]) == {"psnr_y", "ssim_y", "niqe"}


def test_summary_counts_only_what_was_scored() -> None:
    rows = [{"a": {"niqe": value}, "b": {"psnr_y": 30.0}} for value in (3.0, 4.0, 8.0)]
    found = looks.summary([*rows, {"a": {"psnr_y": 20.0}}])
    assert found == {"a": {"niqe_mean": 5.0, "niqe_median": 4.0, "niqe_worst": 8.0, "images": 3}}


def test_a_large_image_is_scored_in_its_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "LARGEST", 192)
    high = torch.rand(1, 3, 400, 500, generator=generator(0, "looks"))
    scores = looks.Look("noise", high[..., ::2, ::2], {"as it is": high}).scores()
    assert scores["as it is"]["niqe"] == niqe.niqe(high[..., 104:296, 154:346])


def test_free_photographs_are_there_and_none_is_large() -> None:
    for path in looks.free_photographs():
        with Image.open(path) as picture:
            assert max(picture.size) <= 640
