"""How weights move: a batch with a loss far off is skipped, and moves nothing."""

import torch

from srfoundry.core.seeds import generator
from srfoundry.training.optimiser import ENOUGH, Guard, Optimisation
from srfoundry.training.settings import Descent
from tests.closed import nets


def test_a_batch_far_off_is_skipped_and_not_remembered() -> None:
    guard = Guard(2.0)
    assert not any(guard.skips(1.0) for _ in range(ENOUGH))
    assert guard.skips(2.0) and guard.skips(float("nan")) and not guard.skips(1.99)
    other = Guard(2.0)
    other.load_state_dict(guard.state_dict())
    assert list(other.taken) == [1.0] * ENOUGH + [1.99]


def test_a_skipped_batch_moves_nothing() -> None:
    net, duals = nets()
    descent = Descent(steps=1, learning_rate=1.0, warmup=0, average=0.9, clip=1.0)
    optimisation = Optimisation(net, duals, descent, skip=2.0)
    assert optimisation.guard is not None
    optimisation.guard.taken.extend([1e-9] * ENOUGH)
    before = [weight.clone() for weight in net.parameters()]
    low = torch.rand(1, 3, 8, 8, generator=generator(1, "low"))
    found = optimisation.update({"total": net(low).square().mean()}, 1.0)
    assert found["skipped"] == 1.0
    assert all(torch.equal(old, new) for old, new in zip(before, net.parameters(), strict=True))


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
