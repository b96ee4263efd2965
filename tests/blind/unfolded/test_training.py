"""Training of unfolded estimation: it resumes to the same bytes, learns, and begins with what closed forms find."""

from pathlib import Path

import pytest
import torch

from srfoundry.blind.unfolded.rounds import unfolded
from srfoundry.blind.unfolded.settings import WindowSettings
from srfoundry.blind.unfolded.training import WindowDraw, losses, train_unfolded, validate_unfolded
from srfoundry.core.compute import Compute
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import Stream, generator, redraw
from srfoundry.core.state import Resumption
from srfoundry.imaging.patches import Patches
from srfoundry.networks.nonblind.unfolded import Unfolded, start_plain
from srfoundry.training.settings import Descent
from tests.blind_cases import power_law
from tests.closed import CPU, prepared
from tests.nonblind import stopping

SMALL = WindowSettings(look=16, octave=0.0, batch=2, softness=0.3)


def photographs(folder: Path) -> Patches:
    return prepared(folder, {f"image{seed}": power_law(96, seed).clamp(0, 1) for seed in range(3)}, [1, 2])


def untrained() -> Unfolded:
    net = Unfolded(scales=(2,), widths=(4, 4, 4), kernel_widths=(4, 4, 4))
    redraw(net, generator(1, "net"))
    start_plain(net)
    return net


def trained(patches: Patches, folder: Path, *, steps: int, stop: int | None = None) -> Unfolded:
    net = untrained()
    train_unfolded(
        net,
        WindowDraw(patches, SMALL, scales=(2,)),
        Descent(steps=steps, learning_rate=1e-3, warmup=1, average=0.5, clip=1.0),
        scales=(2,),
        compute=Compute(CPU),
        stream=Stream(1, "unfolded"),
        resumption=Resumption(folder / "unfolded.pt", "k", stopping(stop)),
    )
    return net


def test_training_resumes_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srfoundry.training.loop.SAVE_SECONDS", 0.0)
    patches = photographs(tmp_path)
    whole = trained(patches, tmp_path / "whole", steps=4)
    with pytest.raises(KeyboardInterrupt):
        trained(patches, tmp_path / "cut", steps=4, stop=3)
    resumed = trained(patches, tmp_path / "cut", steps=4)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(whole.parameters(), untrained().parameters(), strict=True))


def test_a_few_steps_on_one_batch_lower_the_loss(tmp_path: Path) -> None:
    shown = WindowDraw(photographs(tmp_path), SMALL, scales=(2,)).draw(2, rng=generator(1, "batch"))
    net = untrained()
    adam = torch.optim.Adam(net.parameters(), lr=5e-3)
    found = []
    for _ in range(12):
        loss = losses(list(unfolded(net, shown.low, shown.noise, 2, rounds=2)), shown)["total"]
        adam.zero_grad()
        loss.backward()
        adam.step()
        found.append(float(loss.detach()))
    assert found[-1] < 0.95 * found[0]


def test_the_closed_forms_are_as_exact_in_a_training_in_bfloat16(tmp_path: Path) -> None:
    """What is left of the networks is exact in bfloat16: their last layers are constants."""
    shown = WindowDraw(photographs(tmp_path), SMALL, scales=(2,)).draw(2, rng=generator(1, "batch"))
    found = []
    for precision in ("float32", "bfloat16"):
        with Compute(CPU, precision).autocast():
            found.append(list(unfolded(untrained(), shown.low, shown.noise, 2, rounds=2)))
    for exact, fast in zip(*found, strict=True):
        torch.testing.assert_close(fast.kernel, exact.kernel, atol=0, rtol=0)
        torch.testing.assert_close(fast.sharp, exact.sharp, atol=0, rtol=0)


@pytest.mark.parametrize(("factors", "least"), [([1, 2, 4, 8], [64, 96, 128]), ([1, 3], [66, 96, 132])])
def test_windows_lie_on_the_pixels_of_all_reductions(tmp_path: Path, factors: list[int], least: list[int]) -> None:
    """Whatever the photographs were prepared for (`shared.scale`), and whatever the scales of the windows are."""
    image = power_law(144, 1).clamp(0, 1)
    drawn = WindowDraw(prepared(tmp_path, {"image": image}, factors), SMALL, scales=(2, 3, 4))
    assert [drawn.sharp[scale].draws.patch for scale in (2, 3, 4)] == least
    net = Unfolded(scales=(2, 3, 4), widths=(4, 4, 4), kernel_widths=(4, 4, 4))
    for scale in (2, 3, 4):
        shown = drawn.draw(scale, rng=generator(1, "batch"))
        assert shown.high.shape[-1] == scale * shown.low.shape[-1]
        assert bool(losses(list(unfolded(net, shown.low, shown.noise, scale, rounds=1)), shown)["total"].isfinite())


def test_validation_has_a_figure_a_scale_and_small_photographs_are_refused(tmp_path: Path) -> None:
    patches = photographs(tmp_path)
    draw = WindowDraw(patches, SMALL, scales=(2,))
    scores = validate_unfolded(untrained(), draw, stream=Stream(1, "unfolded"), device=CPU, batches=1)
    assert set(scores) == {"x2_gradients", "x2_kernel", "x2_restored"}
    with pytest.raises(FoundryError, match="128x128 pixels or more at scale 4"):
        WindowDraw(patches, SMALL, scales=(4,))
