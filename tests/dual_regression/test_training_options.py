"""Dual training with each option, any network and any dual map: stopped runs end with the same bytes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from srfoundry.core.compute import Compute
from srfoundry.core.seeds import Stream, generator, redraw
from srfoundry.core.state import Resumption
from srfoundry.degradation.kernels import gaussian
from srfoundry.dual_regression.batches import Batches
from srfoundry.dual_regression.loss import loss_of
from srfoundry.dual_regression.training import train
from srfoundry.dual_regression.unpaired import Unpaired
from srfoundry.imaging.patches import Patches
from srfoundry.networks.sr.conditioned import Conditioned
from srfoundry.networks.sr.duals import StraightDual
from srfoundry.networks.sr.edsr import EDSR
from srfoundry.networks.sr.kernel_dual import KernelDual
from srfoundry.networks.sr.swinir import SwinIR
from srfoundry.training.optimiser import ENOUGH
from srfoundry.training.settings import Descent, PatchDraw
from tests.closed import CPU, loss_weights, nets, photographs, ranges

BLUR = gaussian(5, torch.ones(1), torch.full((1,), 2.0), torch.zeros(1))
LOW = [torch.rand(1, 3, 20, 30, generator=generator(5, "low", index)) for index in range(2)]
OPTIONS: dict[str, dict[str, Any]] = {
    "restarts": {"restarts": 2},
    "skip": {"skip": 0.85, "steps": 30},
    "unpaired": {"unpaired": Unpaired(images=LOW, share=0.5)},
    "blind": {"degradation": ranges("blind")},
    "photographs": {"degradation": ranges("photographs")},
    "blur": {"blur": KernelDual.of(BLUR, scale=2)},
    "last": {"average": 0.0},
}
NETS: dict[str, Callable[[], nn.Module]] = {
    "edsr": lambda: EDSR(scale=2, blocks=1, width=8),
    "swinir": lambda: SwinIR(scale=2, depths=[2], width=12, heads=2, window=4),
    "conditioned": lambda: Conditioned(scale=2, blocks=1, width=4, taps=17),
}
MAPS: dict[str, Callable[[], nn.Module]] = {
    "straight": lambda: StraightDual(scale=2, width=4),
    "kernel": lambda: KernelDual.of(BLUR, scale=2),
    "learned": lambda: KernelDual.of(BLUR, scale=2, learn=True),
}


def run(
    patches: Patches,
    folder: Path,
    options: dict[str, Any],
    *,
    made: Callable[[], tuple[nn.Module, nn.Module]] = nets,
    precision: str = "float32",
    stop: int | None = None,
) -> tuple[dict[str, Tensor], list[dict[str, float]]]:
    net, duals = made()
    given = {"steps": 4, "learning_rate": 3e-3, "warmup": 1, "average": 0.5, "clip": 1.0}
    descent = Descent(**{name: options.get(name, value) for name, value in given.items()})
    batches = Batches(
        patches=patches, draws=PatchDraw(patch=16, octave=0.5, batch=2), scale=2, stream=Stream(1, "dual"),
        **{name: options[name] for name in ("unpaired", "blur", "degradation") if name in options},
    )  # fmt: skip

    def log(step: int, _values: dict[str, float]) -> None:
        if step == stop:
            raise KeyboardInterrupt

    loss = loss_of(duals, scale=2, weights=loss_weights(0.1), compute=Compute(CPU, precision))
    history = train(
        net, duals, loss, batches, descent, resumption=Resumption(folder / "dual.pt", "k", log),
        restarts=options.get("restarts", 1), skip=options.get("skip", 0.0),
    )  # fmt: skip
    return {**net.state_dict(), **{f"dual {name}": value for name, value in duals.state_dict().items()}}, history


def resumes(patches: Patches, tmp_path: Path, options: dict[str, Any], **more: Any) -> list[dict[str, float]]:
    """Whether a run that is stopped in the middle goes on to the same bytes and the same curve; gives the curve."""
    whole, curve = run(patches, tmp_path / "whole", options, **more)
    with pytest.raises(KeyboardInterrupt):
        run(patches, tmp_path / "cut", options, **more, stop=options.get("steps", 4) - 1)
    assert (tmp_path / "cut" / "dual.pt").exists()
    again, other = run(patches, tmp_path / "cut", options, **more)
    assert all(torch.equal(whole[name], again[name]) for name in whole) and curve == other
    return curve


@pytest.fixture(autouse=True)
def _save_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srfoundry.training.loop.SAVE_SECONDS", 0.0)


@pytest.mark.parametrize("option", OPTIONS)
def test_a_stopped_run_ends_with_the_same_bytes(tmp_path: Path, option: str) -> None:
    curve = resumes(photographs(tmp_path / "set"), tmp_path, OPTIONS[option])
    assert ("skipped" in curve[0]) == (option == "skip")
    if option == "skip":
        assert 0 < sum(row["skipped"] for row in curve) < len(curve) - ENOUGH


def test_so_does_one_with_all_of_them_in_half_precision(tmp_path: Path) -> None:
    every = {name: value for options in OPTIONS.values() for name, value in options.items()}
    resumes(photographs(tmp_path / "set"), tmp_path, every, precision="bfloat16")


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("mapping", MAPS)
def test_any_network_with_any_dual_map(tmp_path: Path, kind: str, mapping: str) -> None:
    def made() -> tuple[nn.Module, nn.Module]:
        net, duals = NETS[kind](), MAPS[mapping]()
        redraw(net, generator(1, "primal"))
        redraw(duals, generator(1, "dual"))
        return net, duals

    patches = photographs(tmp_path / "set")
    resumes(patches, tmp_path, {}, made=made)
    after, _ = run(patches, tmp_path / "whole", {}, made=made)
    before = made()
    moved = [name for name, value in before[0].state_dict().items() if not torch.equal(value, after[name])]
    assert moved, "the primal was trained"
    learned = [name for name, value in before[1].state_dict().items() if not torch.equal(value, after[f"dual {name}"])]
    assert bool(learned) == (mapping != "kernel"), "a kernel that is given stays"
