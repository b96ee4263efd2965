"""MZSR's training: step weights are the authors', tasks are what they say, and runs repeat bit by bit."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from srfoundry.core.compute import Compute
from srfoundry.core.seeds import Stream, generator, redraw
from srfoundry.core.state import Resumption
from srfoundry.degradation import kernels
from srfoundry.imaging.patches import Patches
from srfoundry.networks.adaptive.mzsr import MZSR
from srfoundry.training import loop
from srfoundry.zero_shot import kernel_tasks, maml, meta_training, plain_training
from srfoundry.zero_shot.settings import InnerLoop, NoiseDraw, OuterDescent, PlainTraining, TaskDegradations, TaskDraw
from srfoundry.zero_shot.step_sizes import StepSizeFactors, step_sizes
from tests.closed import CPU, prepared
from tests.conftest import reference

QUIET = NoiseDraw(noisy=0.0, noise=0.0)
BANK = kernels.draw_gaussian(4, size=7, scale=1, rng=generator(3))[0]


def small(width: int = 8) -> MZSR:
    net = MZSR(width=width, depth=4)
    redraw(net, generator(1, "net"))
    return net


def groups(mismatch: float = 0.0) -> list[kernel_tasks.KernelGroup]:
    chosen = TaskDegradations(enlargement="bicubic", decimation="direct", scales=[], mismatch=mismatch)
    return kernel_tasks.kernel_groups(BANK, chosen, scale=2, rng=generator(1, "blurs"))


def edges() -> torch.Tensor:
    """An image of blocks, on whose edges bicubic fails."""
    blocks = torch.rand(1, 3, 12, 12, generator=generator(5))
    return blocks.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)


def test_step_weights_equal_the_reference() -> None:
    stored = reference("mzsr_meta_grad")
    for iteration, expected in zip(stored["lw_steps"], stored["lw"], strict=True):
        made = meta_training.step_weights(5, int(iteration), how="annealed")
        assert np.abs(made.numpy() - expected).max() < 1e-6


def test_support_has_the_assumed_kernel_and_query_the_true_one(tmp_path: Path) -> None:
    patches = prepared(tmp_path / "set", {"a": edges()}, [1, 2])
    chosen = TaskDraw(tasks=2, shots=3, patch=16, support="patches")
    exact, off = (
        kernel_tasks.draw_tasks(patches, made, chosen, noise=QUIET, device=CPU, rng=generator(7))
        for made in (groups(), groups(mismatch=1.0))
    )
    assert exact.support.shape == (2, 3, 3, 16, 16) == exact.query_high.shape
    assert exact.support_high.equal(off.support_high) and exact.query_high.equal(off.query_high)
    changed = [not (a[0].equal(b[0])) for a, b in ((exact.support, off.support), (exact.query, off.query))]
    assert sum(changed) == 1, "one of the two kernels is another, the other is the bank's"


def test_support_may_be_the_reduced_query_reduced_again(tmp_path: Path) -> None:
    patches = prepared(tmp_path / "set", {"a": edges()}, [1, 2])
    [group] = groups()
    chosen = TaskDraw(tasks=1, shots=2, patch=32, support="self_pair")
    drawn = kernel_tasks.draw_tasks(patches, [group], chosen, noise=QUIET, device=CPU, rng=generator(7))
    low = drawn.support_high[0]
    reduced = [group.reduce(drawn.query_high[0], torch.tensor([which])) for which in range(4)]
    [which] = [which for which in range(4) if reduced[which].equal(low)]
    assert drawn.query[0].equal(group.enlarge(low, torch.tensor([which]), (32, 32)))
    assert drawn.support[0].equal(group.network_input(low, torch.tensor([which])))


def test_factors_are_learned_along_their_gradient() -> None:
    """The gradient of a factor is that of the objective in the logarithm of each factor."""
    net, steps = small().double(), 2
    drawn = maml.Tasks(*(torch.rand(1, 2, 3, 8, 8, generator=generator(2, i), dtype=torch.float64) for i in range(4)))
    learned, last = StepSizeFactors(net).double(), meta_training.step_weights(steps, 0, how="last")

    def loss(moved: torch.Tensor) -> float:
        sizes = 0.05 * moved.exp().expand(steps, -1)
        weights: maml.Weights = dict(net.named_parameters())
        return float(maml.objective(net, weights, drawn, rates=sizes, step_weights=last)[0].detach())

    sizes = 0.05 * learned.factors().expand(steps, -1)
    learned.descend(maml.gradient(net, drawn, rates=sizes, step_weights=last)[1], sizes)
    way = torch.rand(8, generator=generator(3), dtype=torch.float64)
    slope = (loss(1e-5 * way) - loss(-1e-5 * way)) / 2e-5
    assert learned.logarithm.grad is not None
    assert slope == pytest.approx(float((learned.logarithm.grad * way).sum()), rel=1e-3)


def run(
    patches: Patches, folder: Path, *, steps: int = 3, learn_rates: bool = True
) -> tuple[MZSR, list[dict[str, float]], torch.Tensor]:
    """Pretrain and meta-train a tiny net."""
    net = small(16)
    plain = PlainTraining(patch=32, batch=1, steps=150, learning_rate=3e-3)
    curve = plain_training.train(
        net,
        partial(plain_training.bicubic_pairs, patches, plain, scale=2, device=CPU),
        plain,
        schedule="cosine",
        compute=Compute(CPU),
        stream=Stream(1, "pretrain"),
        resumption=Resumption(folder / "p", "k"),
    )
    chosen = TaskDraw(tasks=2, shots=1, patch=16, support="self_pair")
    _, factors = meta_training.metatrain(
        net,
        partial(kernel_tasks.draw_tasks, patches, groups(), chosen, noise=QUIET, device=CPU),
        InnerLoop(steps=2, rate=0.01, order="second", loss_weights="annealed", learn_rates=learn_rates),
        OuterDescent(steps=steps, learning_rate=1e-3, schedule="constant", clip=0.5),
        compute=Compute(CPU),
        stream=Stream(1, "metatrain"),
        resumption=Resumption(folder / "m", "k"),
    )
    return net, curve, factors


def test_one_patch_overfits_and_runs_repeat_bit_by_bit(tmp_path: Path) -> None:
    patches = prepared(tmp_path / "set", {"a": edges()[..., :32, :32]}, [1, 2])
    (first, curve, factors), (second, _, again) = (run(patches, tmp_path / name) for name in "ab")
    assert curve[-1]["loss"] < 0.8 * curve[0]["loss"]
    assert all(a.equal(b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert factors.equal(again) and factors.shape == (8,)
    assert bool((factors != 1).any()) and bool((factors > 0).all())


def test_a_killed_meta_training_resumes_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, step sizes and the optimiser's state are all kept."""
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    patches = prepared(tmp_path / "set", {"a": edges()[..., :32, :32]}, [1, 2])
    whole = run(patches, tmp_path / "whole", steps=4)
    gradient, calls = maml.gradient, 0

    def dies(*args: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return gradient(*args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(maml, "gradient", dies)
        with pytest.raises(KeyboardInterrupt):
            run(patches, tmp_path / "cut", steps=4)
    again = run(patches, tmp_path / "cut", steps=4)
    assert all(a.equal(b) for a, b in zip(whole[0].parameters(), again[0].parameters(), strict=True))
    assert whole[2].equal(again[2])


def test_step_sizes_are_learned_only_where_chosen(tmp_path: Path) -> None:
    patches = prepared(tmp_path / "set", {"a": edges()[..., :32, :32]}, [1, 2])
    assert run(patches, tmp_path, learn_rates=False)[2].equal(torch.ones(8))
    assert step_sizes([0.1, 0.2], torch.ones(2)) == [0.1, 0.2]
    assert step_sizes([1.0, 2.0], torch.tensor([1.0, 0.5])) == [[1.0, 0.5], [2.0, 1.0]]


def test_without_meta_iterations_the_net_is_the_plain_one(tmp_path: Path) -> None:
    net = small()
    before = [weight.clone() for weight in net.parameters()]
    curve, factors = meta_training.metatrain(
        net,
        lambda **_: pytest.fail("no task is drawn"),
        InnerLoop(steps=2, rate=0.01, order="second", loss_weights="last", learn_rates=True),
        OuterDescent(steps=0, learning_rate=1e-3, schedule="cosine", clip=0.5),
        compute=Compute(CPU),
        stream=Stream(1, "metatrain"),
        resumption=Resumption(tmp_path / "m", "k"),
    )
    assert curve == [] and factors.equal(torch.ones(8))
    assert all(a.equal(b) for a, b in zip(before, net.parameters(), strict=True))
