"""MZSR: gradients equal the authors' program, zero steps are plain evaluation, adaptation goes down hill."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import golden

from srfoundry import degrade, kernels, meta, resize
from srfoundry.errors import FoundryError
from srfoundry.networks.mzsr import MZSR
from srfoundry.seeds import generator, redraw
from tests.closed import prepared


def small(width: int = 8) -> MZSR:
    net = MZSR(width=width, depth=4)
    redraw(net, generator(1, "net"))
    return net


@pytest.mark.parametrize(
    ("order", "name", "how"), [("second", "so", "uniform"), ("first", "fo", "uniform"), ("second", "sol", "last")]
)
def test_meta_gradients_equal_the_reference(order: str, name: str, how: str) -> None:
    stored = np.load(golden("golden/reference/mzsr_meta_grad.npz"))

    def channels_first(key: str) -> torch.Tensor:
        return torch.from_numpy(stored[key]).double().permute(0, 1, 4, 2, 3)

    def torch_layout(key: str) -> torch.Tensor:
        value = torch.from_numpy(stored[key]).double()
        return value.permute(3, 2, 0, 1) if value.ndim == 4 else value

    net = MZSR().double()
    for index, weight in enumerate(net.parameters()):
        weight.data = torch_layout(f"w{index:02d}").contiguous()
    tasks = meta.Tasks(*(channels_first(key) for key in ("inputa", "labela", "inputb", "labelb")))
    weights = meta.step_weights(5, 0, how=how) * (5 if how == "last" else 1)  # `sol` lacks the released further 1/N
    objective = torch.zeros((), dtype=torch.float64)
    losses = []
    for which in range(2):
        one, each = meta.task_loss(
            net, dict(net.named_parameters()), tasks, which, inner_rate=0.01, step_weights=weights, order=order
        )
        objective = objective + one / 2
        losses.append(each)
    made = torch.autograd.grad(objective, list(net.parameters()))
    right = [torch_layout(f"{name}{index:02d}") for index in range(16)]
    error = sum(float((a - b).square().sum()) for a, b in zip(made, right, strict=True))
    assert (error / sum(float(b.square().sum()) for b in right)) ** 0.5 < 5e-6
    assert np.abs(torch.stack(losses, dim=1).numpy() - stored["lossesb"]).max() < 1e-6


def test_step_weights_equal_the_reference() -> None:
    stored = np.load(golden("golden/reference/mzsr_meta_grad.npz"))
    for iteration, expected in zip(stored["lw_steps"], stored["lw"], strict=True):
        made = meta.step_weights(5, int(iteration), how="annealed")
        assert np.abs(made.numpy() - expected).max() < 1e-6


def test_no_step_is_plain_evaluation() -> None:
    net, low = small(), torch.rand(1, 3, 20, 24, generator=generator(2))
    weights, losses = meta.adapt(net, low, None, 2, rates=[])
    assert losses == []
    assert meta.restore(net, low, 2, weights=weights).equal(meta.restore(net, low, 2))
    plain = net(resize.cubic(low, 2)).clamp(0, 1).detach()
    assert float((meta.restore(net, low, 2) - plain).abs().max()) < 1e-6  # another memory order, other last digits


def test_adaptation_lowers_the_sons_loss_and_leaves_the_net_alone() -> None:
    net, low = small(), torch.rand(1, 3, 33, 29, generator=generator(2))  # odd sizes are cropped to have a son
    before = [weight.clone() for weight in net.parameters()]
    kernel, _ = kernels.sample(1, size=7, low=1.0, high=2.0, rng=generator(3))
    _, losses = meta.adapt(net, low, kernel, 2, rates=[0.01] * 5)
    assert losses == sorted(losses, reverse=True) and len(losses) == 5
    assert all(a.equal(b) for a, b in zip(before, net.parameters(), strict=True))


def test_a_diverging_adaptation_falls_back_to_its_best_step() -> None:
    net, low = small(), torch.rand(1, 3, 24, 24, generator=generator(2))
    weights, losses = meta.adapt(net, low, None, 2, rates=[0.01, 1e3, 1e3, 1e3])
    assert len(losses) < 4 and all(bool(torch.isfinite(value).all()) for value in weights.values())


def test_a_tiny_image_is_refused() -> None:
    with pytest.raises(FoundryError, match="too small"):
        meta.adapt(small(), torch.rand(1, 3, 12, 40), None, 2, rates=[0.01])


def test_son_is_the_degradation_of_the_image_itself() -> None:
    low = torch.rand(1, 3, 24, 24, generator=generator(2))
    kernel, _ = kernels.sample(1, size=7, low=1.0, high=2.0, rng=generator(3))
    assert degrade.son(low, kernel, 2).equal(degrade.degrade(low, kernel, 2).clamp(0, 1))
    assert degrade.son(low, None, 2).shape == (1, 3, 12, 12)


def test_one_patch_overfits_and_runs_repeat_bit_by_bit(tmp_path: Path) -> None:
    blocks = torch.rand(1, 3, 8, 8, generator=generator(5))  # edges on which bicubic fails
    image = blocks.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    patches = prepared(tmp_path / "set", {"a": image}, [1, 2])
    bank, _ = kernels.sample(4, size=7, low=1.0, high=2.0, rng=generator(3))
    ends = []
    for run in range(2):
        net = small(16)
        common = {"scale": 2, "seed": 1, "device": torch.device("cpu"), "log": lambda step, values: None}
        curve = meta.pretrain(
            net, patches, patch=32, batch=1, steps=150, learning_rate=3e-3, precision="float32",
            checkpoint=tmp_path / f"p{run}", key="k", **common,
        )  # fmt: skip
        assert curve[-1]["loss"] < 0.8 * curve[0]["loss"]
        meta.metatrain(
            net, patches, bank, tasks=2, shots=1, patch=16, inner_steps=2, inner_rate=0.01, steps=3,
            learning_rate=1e-3, order="second", loss_weights="annealed", precision="float32",
            checkpoint=tmp_path / f"m{run}", key="k", **common,
        )  # fmt: skip
        ends.append([weight.detach().clone() for weight in net.parameters()])
    assert all(a.equal(b) for a, b in zip(*ends, strict=True))
