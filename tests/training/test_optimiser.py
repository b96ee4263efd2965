"""How weights move: a batch with a loss far off is skipped, and moves nothing."""

import pytest
import torch

from srfoundry.core.seeds import generator
from srfoundry.training.optimiser import ENOUGH, REMEMBERED, Guard, Optimisation
from srfoundry.training.settings import Descent
from tests.closed import nets


def test_a_batch_far_off_is_skipped_and_not_remembered() -> None:
    guard = Guard(2.0)
    assert not any(guard.skips(torch.tensor(1.0)) for _ in range(ENOUGH))
    assert [float(guard.skips(torch.tensor(loss))) for loss in (2.0, float("nan"), 1.5)] == [1.0, 1.0, 0.0]
    other = Guard(2.0)
    other.load_state_dict(guard.state_dict())
    assert other.state_dict() == {"taken": [1.0] * ENOUGH + [1.5]}
    for _ in range(REMEMBERED):
        assert not other.skips(torch.tensor(1.25))
    assert other.state_dict() == {"taken": [1.25] * REMEMBERED}


@pytest.mark.parametrize("spoilt", [1e9, float("nan")])
def test_a_skipped_batch_moves_nothing(spoilt: float) -> None:
    """Neither weights nor their average nor Adam's moments and count; and the next batch moves them."""
    net, duals = nets()
    descent = Descent(steps=1, learning_rate=1.0, warmup=0, average=0.9, clip=1.0)
    optimisation = Optimisation(net, duals, descent, skip=2.0)
    assert optimisation.guard is not None
    optimisation.guard.load_state_dict({"taken": [1.0] * ENOUGH})
    low = torch.rand(1, 3, 8, 8, generator=generator(1, "low"))

    def seen() -> list[torch.Tensor]:
        moments = [value for state in optimisation.adam.state.values() for value in state.values()]
        return [value.clone() for value in (*net.parameters(), *optimisation.average.module.parameters(), *moments)]

    assert optimisation.update({"total": net(low).square().mean()}, 1e-3)["skipped"] == 0.0
    before = seen()
    assert optimisation.update({"total": net(low).square().mean() * spoilt}, 1e-3)["skipped"] == 1.0
    assert all(torch.equal(old, new) for old, new in zip(before, seen(), strict=True))
    assert optimisation.update({"total": net(low).square().mean()}, 1e-3)["skipped"] == 0.0
    assert not net.head.weight.equal(next(old for old in before if old.shape == net.head.weight.shape))


def test_the_average_is_what_a_training_ends_with() -> None:
    net, duals = nets()
    optimisation = Optimisation(net, duals, Descent(steps=2, learning_rate=0.1, warmup=0, average=0.5, clip=1.0))
    before = net.head.weight.detach().clone()
    low = torch.rand(1, 3, 8, 8, generator=generator(1, "low"))
    seen = []
    for _ in range(2):
        optimisation.update({"total": net(low).square().mean()}, 0.1)
        seen.append(net.head.weight.detach().clone())
    optimisation.finish()
    assert not seen[0].equal(before)
    # the first update sets the average, the second halves the way to the new weights
    torch.testing.assert_close(net.head.weight.detach(), (seen[0] + seen[1]) / 2, atol=1e-6, rtol=0)
