"""The non-blind network's training: it resumes to the same bytes, and is judged against bicubic enlargement."""

from pathlib import Path

import pytest
import torch

from srfoundry.blind.nonblind_pairs import PairDraw, SharpPatches
from srfoundry.blind.nonblind_training import train_usrnet, validate_usrnet
from srfoundry.core.compute import Compute
from srfoundry.core.seeds import Stream
from srfoundry.core.state import Resumption
from srfoundry.imaging.patches import Patches
from srfoundry.networks.nonblind.usrnet import USRNet
from srfoundry.training.settings import Descent, PatchDraw
from tests.closed import CPU, photographs
from tests.nonblind import tiny_usrnet


def run(patches: Patches, folder: Path, *, stop: int | None = None) -> USRNet:
    net = tiny_usrnet()

    def log(step: int, _values: dict[str, float]) -> None:
        if step == stop:
            raise KeyboardInterrupt

    train_usrnet(
        net,
        PairDraw(SharpPatches(patches, PatchDraw(patch=16, octave=0.5, batch=2)), noise=0.04),
        Descent(steps=4, learning_rate=1e-3, warmup=1, average=0.5, clip=1.0),
        scales=[2],
        motion=0.5,
        compute=Compute(CPU),
        stream=Stream(1, "nonblind"),
        resumption=Resumption(folder / "nonblind.pt", "k", log),
    )
    return net


def test_training_moves_every_weight_and_resumes_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("srfoundry.training.loop.SAVE_SECONDS", 0.0)
    patches = photographs(tmp_path)
    whole = run(patches, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(patches, tmp_path / "cut", stop=3)
    resumed = run(patches, tmp_path / "cut")
    for first, second, before in zip(whole.parameters(), resumed.parameters(), tiny_usrnet().parameters(), strict=True):
        assert torch.equal(first, second) and not torch.equal(first, before)


def test_validation_is_held_against_bicubic_enlargement(tmp_path: Path) -> None:
    found = validate_usrnet(tiny_usrnet().eval(), photographs(tmp_path), scale=2, device=CPU)
    assert found["gain_db"] == found["psnr_y"] - found["bicubic_psnr_y"] and 10 < found["bicubic_psnr_y"] < 60
