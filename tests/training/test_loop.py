"""The training loop: resumed equals uninterrupted, a bad loss stops it, curves have fixed rows."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from srfoundry.core.errors import Diverged
from srfoundry.core.seeds import generator, redraw
from srfoundry.core.state import Resumption
from srfoundry.training import loop as fitting
from srfoundry.training.loop import fit, last_value


class Stop(Exception):
    """Stands for a kill."""


def train(folder: Path, steps: int, *, stop: int | None = None, bad: int | None = None) -> tuple[nn.Module, list]:
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
        optimiser.step()
        return {"loss": math.nan if index == bad else loss.detach()}

    state = {"net": net, "optimiser": optimiser}
    path = folder / "state.pt"
    history = fit(step, steps=steps, state=state, resumption=Resumption(path, "k"), title="t")
    return net, history


def test_a_killed_run_ends_with_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "SAVE_SECONDS", 0.0)
    whole, curve = train(tmp_path / "a", 250)
    for stop in (1, 133, 201):
        with pytest.raises(Stop):
            train(tmp_path / "b", 250, stop=stop)
    resumed, again = train(tmp_path / "b", 250)
    assert curve == again and len(curve) == 125
    assert all(a.equal(b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "SAVE_SECONDS", 0.0)
    with pytest.raises(Diverged, match=r"loss is nan at step 30 .*state\.pt.*learning rate"):
        train(tmp_path, 100, bad=30)
    assert (tmp_path / "state.pt").exists()


def test_the_last_value_is_found_where_the_last_rows_lack_it() -> None:
    skipped = [{"step": 1.0, "total": 0.5, "skipped": 0.0}, {"step": 2.0, "skipped": 1.0}]
    assert last_value(skipped, "total") == 0.5 and last_value(skipped, "skipped") == 1.0
    assert last_value(skipped[1:], "total") == last_value([], "total") == 0.0
