"""MAML's meta-gradient: equal to the authors' program, to plain autograd and to finite differences."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from srfoundry.core.seeds import generator, redraw
from srfoundry.networks.adaptive.mzsr import MZSR
from srfoundry.zero_shot import double_backward, maml, meta_training
from srfoundry.zero_shot.settings import LossWeights, Order
from tests.conftest import reference

STEPS = torch.tensor([0.3, 0.7], dtype=torch.float64)


class Odd(nn.Module):
    """A net of everything that the quick convolutions must take or leave alone."""

    def __init__(self) -> None:
        super().__init__()
        relu = nn.ReLU()
        self.first = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False), nn.LeakyReLU(0.1))
        self.middle = nn.Sequential(nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=2), relu, nn.Conv2d(6, 6, 1), relu)
        self.named = nn.Conv2d(6, 6, 3, padding="same")
        self.mirrored = nn.Conv2d(6, 12, 3, padding=1, padding_mode="reflect")
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        y = self.mirrored(self.named(y + self.middle(y)).relu())
        return x + self.scale * nn.functional.pixel_shuffle(y, 2)


def draw(tasks: int, support: int, query: int, size: int = 8, dtype: torch.dtype = torch.float64) -> maml.Tasks:
    shots = (support, support, query, query)
    rng = generator(2, "tasks")
    return maml.Tasks(*(torch.rand(tasks, n, 3, size, size, dtype=dtype, generator=rng) for n in shots))


def small(net: nn.Module | None = None, dtype: torch.dtype = torch.float64) -> nn.Module:
    net = net or MZSR(width=8, depth=4)
    redraw(net, generator(1, "net"))
    return net.to(dtype)


def rates_of(net: nn.Module, steps: int = 2) -> Tensor:
    """A rate of its own for each step and weight tensor."""
    count = len(list(net.parameters()))
    return 0.02 + 0.05 * torch.rand(steps, count, dtype=next(net.parameters()).dtype, generator=generator(3))


def plain(
    net: nn.Module, tasks: maml.Tasks, rates: Tensor, order: Order = "second"
) -> tuple[list[Tensor], Tensor, Tensor]:
    """What anybody would write: a loop over tasks, create_graph=True."""
    rates = rates.detach().requires_grad_()
    total, losses = torch.zeros(()), []
    for support, support_high, query, query_high in zip(
        tasks.support, tasks.support_high, tasks.query, tasks.query_high, strict=True
    ):
        weights: dict[str, Tensor] = dict(net.named_parameters())
        for rate, weight in zip(rates, STEPS, strict=True):
            inner = (functional_call(net, weights, (support,)) - support_high).abs().mean()
            slopes = torch.autograd.grad(inner, list(weights.values()), create_graph=order == "second")
            moved = zip(weights.items(), rate, slopes, strict=True)
            weights = {name: value - size * slope for (name, value), size, slope in moved}
            losses.append((functional_call(net, weights, (query,)) - query_high).abs().mean())
            total = total + weight.to(rate) * losses[-1] / len(rates) / len(tasks.support)
    slopes = torch.autograd.grad(total, [*net.parameters(), rates])
    return list(slopes[:-1]), slopes[-1], torch.stack(losses).detach().unflatten(0, (-1, len(rates)))


def off(made: list[Tensor], right: list[Tensor]) -> float:
    """Relative L2 distance."""
    error = sum(float((a.double() - b.double()).square().sum()) for a, b in zip(made, right, strict=True))
    return (error / sum(float(b.double().square().sum()) for b in right)) ** 0.5


@pytest.mark.parametrize(
    ("order", "name", "how"), [("second", "so", "uniform"), ("first", "fo", "uniform"), ("second", "sol", "last")]
)
def test_meta_gradients_equal_the_reference(order: Order, name: str, how: LossWeights) -> None:
    stored = reference("mzsr_meta_grad")

    def torch_layout(key: str) -> Tensor:
        value = torch.from_numpy(stored[key]).double()
        return value.permute(3, 2, 0, 1) if value.ndim == 4 else value

    net = MZSR().double()
    for index, weight in enumerate(net.parameters()):
        weight.data = torch_layout(f"w{index:02d}").contiguous()
    images = (torch.from_numpy(stored[key]).double() for key in ("inputa", "labela", "inputb", "labelb"))
    tasks = maml.Tasks(*(image.permute(0, 1, 4, 2, 3) for image in images))
    made, _, losses = maml.gradient(
        net,
        tasks,
        rates=torch.full((5, 16), 0.01, dtype=torch.float64),
        # `sol` lacks the released further 1/N
        step_weights=meta_training.step_weights(5, 0, how=how) * (5 if how == "last" else 1),
        order=order,
    )
    theirs = [torch.from_numpy(stored[f"{name}{index:02d}"]) for index in range(16)]
    flat = [(slope.permute(2, 3, 1, 0) if slope.ndim == 4 else slope).flatten() for slope in made.values()]
    thinned = [slope[:: max(1, slope.numel() // 256)] for slope in flat]
    assert off(thinned, theirs) < 5e-6
    norms = [float(stored[f"{name}{index:02d}_norm"]) for index in range(16)]
    assert [float(slope.norm()) for slope in flat] == pytest.approx(norms, rel=5e-6)
    assert np.abs(losses.T.numpy() - stored["lossesb"]).max() < 1e-6


@pytest.mark.parametrize("order", ["second", "first"])
@pytest.mark.parametrize(("shots", "count"), [((2, 2), 3), ((1, 3), 2), ((2, 1), 1)])
@pytest.mark.parametrize("together", [None, 2, 5])
def test_all_at_once_is_a_loop_with_plain_autograd(
    order: Order, shots: tuple[int, int], count: int, together: int | None
) -> None:
    net, tasks = small(), draw(count, *shots)
    rates = rates_of(net)
    made = maml.gradient(net, tasks, rates=rates, step_weights=STEPS, order=order, together=together)
    right = plain(net, tasks, rates, order)
    assert off(list(made[0].values()), right[0]) < 1e-12
    assert off([made[1]], [right[1]]) < 1e-12  # the gradient of learned rates
    assert torch.allclose(made[2], right[2], rtol=1e-12)


def test_any_net_has_its_exact_meta_gradient() -> None:
    net, tasks = small(Odd()), draw(2, 2, 2)
    rates = rates_of(net)
    made = maml.gradient(net, tasks, rates=rates, step_weights=STEPS, together=2)
    right = plain(net, tasks, rates)
    assert off(list(made[0].values()), right[0]) < 1e-12
    assert off([made[1]], [right[1]]) < 1e-12


def test_the_gradient_is_the_slope_of_the_objective() -> None:
    net, tasks = small(), draw(2, 2, 2)
    rates = rates_of(net)
    weights = {name: value.detach() for name, value in net.named_parameters()}
    along = {
        name: torch.randn(value.shape, dtype=value.dtype, generator=generator(4, name))
        for name, value in weights.items()
    }
    made, _, _ = maml.gradient(net, tasks, rates=rates, step_weights=STEPS)

    def at(distance: float) -> float:
        moved = {name: (value + distance * along[name]).requires_grad_() for name, value in weights.items()}
        return float(maml.objective(net, moved, tasks, rates=rates, step_weights=STEPS)[0].detach())

    step = 1e-7  # so short that no ReLU and no sign changes
    slope = sum(float((made[name] * along[name]).sum()) for name in made)
    assert (at(step) - at(-step)) / (2 * step) == pytest.approx(slope, rel=1e-5)


def test_float32_is_plain_autograd_and_bfloat16_is_close() -> None:
    net, tasks = small(MZSR(width=16, depth=5), torch.float32), draw(2, 4, 4, 16, torch.float32)
    rates = rates_of(net)
    right = plain(net, tasks, rates)
    made, of_rates, _ = maml.gradient(net, tasks, rates=rates, step_weights=STEPS)
    assert off(list(made.values()), right[0]) < 1e-5
    assert off([of_rates], [right[1]]) < 1e-5
    rough, of_rates, _ = maml.gradient(net, tasks, rates=rates, step_weights=STEPS, precision="bfloat16")
    a, b = (torch.cat([g.flatten() for g in gradients]) for gradients in (rough.values(), right[0]))
    assert all(g.dtype == torch.float32 for g in rough.values())
    assert float(torch.cosine_similarity(a, b, dim=0)) > 0.99
    assert float(torch.cosine_similarity(of_rates.flatten(), right[1].flatten(), dim=0)) > 0.99


def test_the_net_stays_as_it_was() -> None:
    net = small()
    before, shape = {name: value.clone() for name, value in net.state_dict().items()}, repr(net)
    maml.gradient(net, draw(1, 1, 1), rates=rates_of(net), step_weights=STEPS)
    assert repr(net) == shape
    assert all(value.equal(before[name]) for name, value in net.state_dict().items())
    assert all(value.grad is None for value in net.parameters())


def test_grouped_convolutions_equal_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU runs, on a CPU."""
    net, tasks = small(), draw(3, 2, 2)
    more = {"rates": rates_of(net), "step_weights": STEPS, "together": 3}
    slopes, sizes, losses = maml.gradient(net, tasks, **more)
    monkeypatch.setattr(double_backward, "_grouped", lambda x: len(x) > 1)
    grouped, grouped_sizes, grouped_losses = maml.gradient(net, tasks, **more)
    assert off(list(grouped.values()), list(slopes.values())) < 1e-12
    assert off([grouped_sizes, grouped_losses], [sizes, losses]) < 1e-12
