"""The training loop: resumed equals uninterrupted, a bad loss stops it, curves have fixed rows."""

import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from srfoundry.core.errors import Diverged
from srfoundry.core.seeds import generator, redraw
from srfoundry.core.state import Resumption, unkept
from srfoundry.training import loop as fitting
from srfoundry.training.loop import fit, last_value
from tests.pretended_gpu import pretended_gpu


class Stop(Exception):
    """Stands for a kill."""


def train(
    folder: Path, steps: int, *, stop: int | None = None, bad: int | None = None, steep: int | None = None
) -> tuple[nn.Module, list]:
    net = nn.Conv2d(1, 1, 3)
    redraw(net, generator(1, "net"))
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)

    def step(index: int) -> dict[str, torch.Tensor | float]:
        if index == stop:
            raise Stop
        x = torch.rand(2, 1, 8, 8, generator=generator(1, "batch", index))
        loss = net(x).square().mean()
        optimiser.zero_grad()
        loss.backward()
        if index == steep:
            assert net.bias is not None and net.bias.grad is not None
            net.bias.grad.fill_(math.inf)
        optimiser.step()
        return {"loss": math.nan if index == bad else loss.detach()}

    state = {"net": net, "optimiser": optimiser}
    path = folder / "state.pt"
    history = fit(step, steps=steps, state=state, resumption=Resumption(path, "k"), title="t")
    return net, history


def test_a_finished_run_is_said_to_come_from_its_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is taken whatever is asked for now: the key alone stands for that. Who wants none keeps none."""
    whole, curve = train(tmp_path, 5)
    assert "finished" not in capsys.readouterr().err
    again, same = train(tmp_path, 3)
    assert f"t: finished before; its 5 steps are taken from {tmp_path}" in capsys.readouterr().err
    assert curve == same and all(a.equal(b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))
    with unkept() as resumption:
        fit(lambda index: {"loss": 1.0}, steps=3, state={}, resumption=resumption, title="t")
        assert resumption.path.exists()
    assert not resumption.path.parent.exists()


def test_a_killed_run_ends_with_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "SAVE_SECONDS", 0.0)
    whole, curve = train(tmp_path / "a", 350)
    for stop in (1, 133, 134, 201):  # between two rows, too
        with pytest.raises(Stop):
            train(tmp_path / "b", 350, stop=stop)
        assert torch.load(tmp_path / "b" / "state.pt", weights_only=True)["step"] == stop
    resumed, again = train(tmp_path / "b", 350)
    assert curve == again and len(curve) == 117
    assert all(a.equal(b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


@pytest.mark.parametrize(("of_a_save", "between"), [(0.0, 2), (0.44, 3), (1.25, 5), (60.0, 6)])
def test_checkpoints_come_by_time_at_any_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_a_save: float, between: int
) -> None:
    """A million steps of ten seconds: a minute is lost at most, and saving takes few percent where it can."""
    now, saved = [0.0], []

    class Slow(Resumption):
        def save(self, state: object, step: int, history: object) -> None:
            saved.append(step)
            now[0] += of_a_save

    def step(index: int) -> dict[str, float]:
        if index == 50:
            raise Stop
        now[0] += 10.0
        return {"loss": 1.0}

    monkeypatch.setattr(fitting.time, "monotonic", lambda: now[0])
    with pytest.raises(Stop):
        fit(step, steps=1_000_000, state={}, resumption=Slow(tmp_path / "state.pt", "k"), title="t")
    assert {after - before for before, after in pairwise(saved[1:])} == {between}


@pytest.mark.parametrize("most", [6.0, 60.0, 600.0])
@pytest.mark.parametrize("of_a_save", [0.01, 0.3])
def test_a_kill_costs_no_more_than_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: float, of_a_save: float
) -> None:
    """Seconds of work between two states that are whole, the time that writing the second takes included."""
    now, saved = [0.0], []

    class Timed(Resumption):
        def save(self, state: object, step: int, history: object) -> None:
            begun = now[0]
            now[0] += of_a_save
            saved.append((begun, now[0]))

    def step(index: int) -> dict[str, float]:
        now[0] += 0.4 + 0.1 * (index % 7)
        return {"loss": 1.0}

    monkeypatch.setattr(fitting.time, "monotonic", lambda: now[0])
    fit(step, steps=3000, state={}, resumption=Timed(tmp_path / "state.pt", "k", seconds=most), title="t")
    assert max(end - begun for (begun, _), (_, end) in pairwise(saved)) <= most
    share = of_a_save * len(saved) / now[0]
    assert share < 0.02 or most < of_a_save / 0.02, "asked: under 2 %, where what a kill may cost leaves the choice"


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "SAVE_SECONDS", 0.0)
    with pytest.raises(Diverged, match=r"loss is nan at step 30 .*state\.pt.*learning rate"):
        train(tmp_path, 100, bad=30)
    assert (tmp_path / "state.pt").exists()


@pytest.mark.parametrize("seconds", [0.0, 60.0])
def test_weights_that_are_not_finite_are_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """The loss is finite, its gradient is not: also after the last step, where no further loss could show it."""
    monkeypatch.setattr(fitting, "SAVE_SECONDS", seconds)
    wanted = "net.bias holds NaN or infinity after step 30 "
    good = r"state\.pt" if seconds == 0 else "none yet"
    with pytest.raises(Diverged, match=rf"{wanted}\(last good checkpoint: .*{good}\); lower the learning rate"):
        train(tmp_path, 31, steep=30)
    if seconds == 0:
        saved = torch.load(tmp_path / "state.pt", weights_only=True)
        assert saved["step"] == 30 and all(bool(value.isfinite().all()) for value in saved["state"]["net"].values())


def test_weights_on_a_gpu_are_looked_at_too(tmp_path: Path) -> None:
    with pretended_gpu() as device:
        net = nn.Conv2d(1, 1, 3).to(device)

        def step(index: int) -> dict[str, torch.Tensor | float]:
            with torch.no_grad():
                net.weight.mul_(math.nan if index == 1 else 1.0)
            return {"loss": torch.ones((), device=device)}

        with pytest.raises(Diverged, match="net.weight holds NaN or infinity after step 1 "):
            fit(step, steps=2, state={"net": net}, resumption=Resumption(tmp_path / "state.pt", "k"), title="t")


def test_losses_on_a_gpu_are_read_some_steps_together_and_give_the_same_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, reads = fitting._read, []
    monkeypatch.setattr(fitting, "_read", lambda rows: reads.append(len(rows)) or read(rows))

    def curve(device: torch.device, steps: int, bad: int | None = None) -> list[dict[str, float]]:
        loss = torch.zeros((), device=device)  # one tensor for all steps, as a recorded step has

        def step(index: int) -> dict[str, torch.Tensor | float]:
            loss.fill_(math.nan if index == bad else 1 / (index + 1))
            return {"loss": loss} | ({"even": 1.0} if index % 2 == 0 else {})

        kept = Resumption(tmp_path / f"{device.type}.pt", "k")
        return fit(step, steps=steps, state={}, resumption=kept, title="t")

    plain = curve(torch.device("cpu"), 3050)
    assert set(reads) == {1}
    reads.clear()
    with pretended_gpu() as device:
        assert curve(device, 3050) == plain
        assert set(reads) == {fitting.UNREAD, 30 - fitting.UNREAD}  # a row has 30
        (tmp_path / f"{device.type}.pt").unlink()
        with pytest.raises(Diverged, match="loss is nan at step 25 "):
            curve(device, 3050, bad=25)
        assert not (tmp_path / f"{device.type}.pt").exists()


def test_the_last_value_is_found_where_the_last_rows_lack_it() -> None:
    skipped = [{"step": 1.0, "total": 0.5, "skipped": 0.0}, {"step": 2.0, "skipped": 1.0}]
    assert last_value(skipped, "total") == 0.5 and last_value(skipped, "skipped") == 1.0
    assert last_value(skipped[1:], "total") == last_value([], "total") == 0.0
