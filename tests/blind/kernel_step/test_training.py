"""Training of the learned step: it resumes to the same bytes, judges kernels by what they restore, and takes part."""

from pathlib import Path

import pytest
import torch

from srfoundry.blind.estimate import BlindObservation
from srfoundry.blind.kernel_step.settings import CaseSettings
from srfoundry.blind.kernel_step.training import (
    TRAINED,
    CaseDraw,
    Examples,
    error,
    search,
    train_kernel_step,
    validate_kernel_step,
)
from srfoundry.core.compute import Compute
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import Stream, generator, redraw
from srfoundry.core.state import Resumption
from srfoundry.degradation import kernels
from srfoundry.degradation.observation import Sampling
from srfoundry.imaging.patches import Patches
from srfoundry.networks.nonblind.kernel_step import KernelStep, start_plain
from srfoundry.training.settings import Descent
from tests.blind_cases import power_law
from tests.closed import CPU, prepared
from tests.nonblind import data_steps, stopping

SMALL = CaseSettings(cases=3, patch=120, noise=0.03, softness=0.3, batch=2)


def photographs(folder: Path) -> Patches:
    return prepared(folder, {f"image{seed}": power_law(128, seed).clamp(0, 1) for seed in range(2)}, [1, 2])


def untrained() -> KernelStep:
    net = KernelStep(scales=(2,), widths=(4, 4, 4))
    redraw(net, generator(1, "net"))
    start_plain(net)
    return net


def trained(patches: Patches, folder: Path, *, stop: int | None = None) -> KernelStep:
    net = untrained()
    train_kernel_step(
        net,
        CaseDraw(patches, SMALL),
        Descent(steps=6, learning_rate=1e-3, warmup=1, average=0.5, clip=1.0),
        restorer=data_steps(),
        scales=(2,),
        compute=Compute(CPU),
        stream=Stream(1, "kernel_step"),
        resumption=Resumption(folder / "kernel_step.pt", "k", stopping(stop)),
    )
    return net


def test_training_resumes_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srfoundry.training.loop.SAVE_SECONDS", 0.0)
    patches = photographs(tmp_path)
    whole = trained(patches, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(patches, tmp_path / "cut", stop=2)
    resumed = trained(patches, tmp_path / "cut")
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(whole.parameters(), untrained().parameters(), strict=True))


def test_each_round_is_an_example(tmp_path: Path) -> None:
    seen, true = CaseDraw(photographs(tmp_path), SMALL).draw(2, rng=generator(3, "case"))
    rounds, found = search(untrained(), data_steps(), seen, rng=generator(1, "search"))
    assert len(rounds) == len(TRAINED.noises) and found.shape == true.shape
    assert rounds.isfinite().all() and float(found.sum()) == pytest.approx(1, abs=1e-5)


def test_a_kernel_that_only_lies_elsewhere_is_right_and_a_wider_one_is_not() -> None:
    true, wide, wider = (round_gaussian(variance) for variance in (3.0, 4.0, 9.0))
    assert float(error(true.roll(2, -1), true)) < -25 < float(error(wide, true)) < 0
    assert float(error(wider, true)) > float(error(wide, true))


def round_gaussian(variance: float) -> torch.Tensor:
    both = torch.tensor([variance])
    return kernels.gaussian(25, both, both, torch.zeros(1)).float()


def test_examples_are_turned_with_their_kernels() -> None:
    every = Examples()
    kernel = torch.rand(1, 5, 5, generator=generator(1, "kernel"))
    every.add(kernel[None], kernel)
    drawn = [every.draw(1, rng=generator(seed, "draw")) for seed in range(12)]
    assert all(torch.equal(seen[:, 0], wanted) for seen, wanted in drawn)
    assert len({tuple(wanted.flatten().tolist()) for _, wanted in drawn}) > 3


def test_validation_compares_with_and_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srfoundry.blind.kernel_step.training.JUDGED", 1)
    draw, net = CaseDraw(photographs(tmp_path), SMALL), untrained().eval()
    asked = {"restorer": data_steps(), "compute": Compute(CPU), "stream": Stream(1, "kernel_step")}
    scores = validate_kernel_step(net, draw, **asked)
    assert set(scores) == {"x2_learned", "x2_plain"} and all(abs(score) < 60 for score in scores.values())


def test_photographs_that_are_too_small_are_refused(tmp_path: Path) -> None:
    patches = photographs(tmp_path)
    with pytest.raises(FoundryError, match="132x132 pixels or more, got none"):
        CaseDraw(patches, CaseSettings(cases=1, patch=132, noise=0.0, softness=0.0, batch=1))


def test_the_image_is_of_8_bits_and_has_its_noise(tmp_path: Path) -> None:
    seen, true = CaseDraw(photographs(tmp_path), SMALL).draw(2, rng=generator(3, "case"))
    assert isinstance(seen, BlindObservation) and seen.sampling == Sampling(2, border="reflect")
    levels = seen.low * 255
    assert float((levels - levels.round()).abs().max()) < 1e-3 and seen.noise is not None
    assert float(true.sum()) == pytest.approx(1, abs=1e-5)
