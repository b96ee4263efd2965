"""How alpha becomes probabilities of widths: where thresholds start, their shape, and what a search does by them."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from srfoundry.compression.budget import Budget, ladders_of
from srfoundry.compression.relaxation import RELAXATIONS, UNIT, Threshold
from srfoundry.compression.search import WidthSearch
from srfoundry.compression.settings import Relaxation
from srfoundry.core.seeds import generator, redraw
from srfoundry.core.state import Resumption
from srfoundry.networks.sr.drn import DRN
from srfoundry.networks.sr.prunable import Unit
from tests.searches import along, in_one_part, modelled, wanted


@pytest.fixture
def budget() -> Budget:
    net = DRN(scale=2, blocks=3, width=16)
    return Budget.parameters(net, net.units(), ladders_of(net, net.units(), 4))


@pytest.mark.parametrize("remove", [0.02, 0.3, 0.72])
def test_thresholds_start_at_one_keep_ratio_that_meets_the_budget(budget: Budget, remove: float) -> None:
    widths = Threshold(budget, remove, rng=generator(1, "ends"))
    ends = torch.stack([end.detach() for end in widths.alpha])
    assert float(ends.std()) < 0.01
    assert float(budget.expected_removed(widths.shares()).detach()) == pytest.approx(remove, abs=0.005)


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_a_threshold_has_one_peak_where_the_channels_end(budget: Budget, temperature: float) -> None:
    widths = Threshold(budget, 0.3, rng=generator(1, "ends"))
    with torch.no_grad():
        for place, end in enumerate(widths.alpha):
            end.fill_(UNIT * (0.3 + 0.1 * place))
    for place, (share, ladder) in enumerate(zip(widths.shares(temperature), budget.ladders, strict=True)):
        share = share.detach()
        assert float(share.sum()) == pytest.approx(1.0, abs=1e-6)
        assert float(share.min()) >= 0
        peak = int(share.argmax())
        assert abs(ladder[peak] / ladder[-1] - (0.3 + 0.1 * place)) <= (ladder[-1] - ladder[-2]) / ladder[-1]
        change = torch.diff(share[1:-1])  # the first and the last width hold what lies beyond them, too
        fallen = (change < -1e-6).cumsum(0) > 0
        assert not (fallen & (change > 1e-6)).any()


def test_a_threshold_is_as_sure_on_either_side(budget: Budget) -> None:
    """Widths as far below the end as above it are as likely, where both are next to impossible, too."""
    widths = Threshold(budget, 0.3, rng=generator(1, "ends"))
    with torch.no_grad():
        for end in widths.alpha:
            end.fill_(UNIT * 0.5)
    for share, ladder in zip(widths.shares(0.1), budget.ladders, strict=True):
        odds = {width: float(each.detach().log()) for width, each in zip(ladder, share, strict=True)}
        for width in ladder[1:-1]:
            if ladder[-1] - width in ladder[1:-1]:
                assert odds[width] == pytest.approx(odds[ladder[-1] - width], rel=1e-3)


@pytest.mark.parametrize("multiple", [4, 16])
def test_ends_stay_where_a_gradient_can_move_them(multiple: int) -> None:
    net = DRN(scale=2, blocks=3, width=16)
    budget = Budget.parameters(net, net.units(), ladders_of(net, net.units(), multiple))
    widths = Threshold(budget, 0.3, rng=generator(1, "ends"))
    with torch.no_grad():
        for end, to in zip(widths.alpha, (-9.0, 9.0) * 8, strict=False):
            end.fill_(to)
    for temperature in (1.0, 0.1, 0.01):
        widths.settle(temperature)
        gradients = torch.autograd.grad(budget.expected_removed(widths.shares(temperature)), list(widths.alpha))
        assert all(1e-5 < abs(float(gradient)) < 1e3 for gradient in gradients)


class Branches(nn.Module):
    """Two layers side by side of the same cost; the image needs the first alone."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.used = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 3, 3, padding=1))
        self.idle = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 3, 3, padding=1))
        redraw(self, generator(1, "branches"))

    def units(self) -> list[Unit]:
        return [Unit(name, f"{name}.0", f"{name}.2") for name in ("used", "idle")]

    def forward(self, image: Tensor) -> Tensor:
        return self.used(image) + 1e-3 * self.idle(image)


@pytest.mark.parametrize("kind", list(RELAXATIONS))
def test_a_search_takes_from_the_layer_that_matters_less(tmp_path: Path, kind: Relaxation) -> None:
    net, whole = Branches(), Branches()
    budget = Budget.parameters(net, net.units(), [range(2, 17, 2)] * 2)

    def draw(index: int) -> dict[int, Tensor]:
        return {1: torch.rand(2, 3, 8, 8, generator=generator(1, "image", index))}

    def loss(net: nn.Module, batch: Mapping[int, Tensor]) -> dict[str, Tensor]:
        return {"total": (net(batch[1]) - whole(batch[1]).detach()).abs().mean() + 0.01}

    model, descent = modelled("first", kind, "activation"), along(150, learning_rate=1e-5, temperature=0.1)
    target, rng = wanted(0.3, 0.02), generator(1, "alpha")
    search = WidthSearch(net, loss, budget, target, model, descent, trained=[net], rng=rng)
    search.run((in_one_part(draw), in_one_part(draw)), Resumption(tmp_path / "search.pt", "k"))
    used, idle = search.kept.widths()
    assert used >= 14
    assert idle <= 8
