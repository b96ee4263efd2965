"""The recipe of a dense network: where it starts, what it is scored on, and an operator that has nothing to learn."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from srfoundry.core.compute import Compute
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import Stream
from srfoundry.core.state import Resumption
from srfoundry.degradation.settings import Model
from srfoundry.dual_regression.recipe import Dense, train_dense
from srfoundry.dual_regression.settings import DenseTraining
from srfoundry.networks.zoo import cards
from srfoundry.training.settings import Descent, PatchDraw
from tests.closed import CPU, loss_weights, photographs, ranges

ARCH = {"name": "drn", "scale": 2, "width": 8, "blocks": 1}
OPERATOR = {"name": "kernel_dual", "scale": 2, "size": 1, "decimation": "bicubic"}


def settings(model: Model, steps: int, **values: object) -> DenseTraining:
    how = DenseTraining(
        arch=ARCH,
        dual_arch=OPERATOR,
        weights=loss_weights(0.1),
        draws=PatchDraw(patch=32, octave=0.5, batch=4),
        degradation=ranges(model),
        descent=Descent(steps=steps, learning_rate=1e-3, warmup=1, average=0.0, clip=1.0),
        restarts=1,
        skip=0.0,
        unpaired_share=0.0,
    )
    return replace(how, **values)


def trained(folder: Path, how: DenseTraining, start: Path | None = None) -> Dense:
    patches = photographs(folder / "set")
    resumption = Resumption(folder / f"{how.descent.steps}.pt", "k")
    stream = Stream(1, "photo")
    return train_dense(how, (patches, patches), folder, Compute(CPU), stream, resumption=resumption, start=start)


def test_it_goes_on_from_another_net(tmp_path: Path) -> None:
    first = trained(tmp_path, settings("bicubic", 2))
    path = tmp_path / "first.safetensors"
    cards.save(path, first.net, arch=dict(ARCH), scale=2, made_by="dual", params_hash="")
    same = trained(tmp_path, settings("photographs", 0), path)
    assert all(torch.equal(value, same.net.state_dict()[name]) for name, value in first.net.state_dict().items())
    with pytest.raises(FoundryError, match=r"first\.safetensors must be of the arch .*'width': 16.* to start from"):
        trained(tmp_path, settings("photographs", 0, arch={**ARCH, "width": 16}), path)


def test_scores_are_of_what_it_is_for(tmp_path: Path) -> None:
    clean = trained(tmp_path, settings("bicubic", 2))
    assert "validation_degraded" not in clean.scores
    photo = trained(tmp_path, settings("photographs", 2))
    assert photo.scores["validation"] != photo.scores["validation_degraded"]
    again = trained(tmp_path, settings("photographs", 2))
    assert photo.scores == again.scores and photo.history[-1]["dual"] > 0
