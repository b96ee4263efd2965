"""MZSR's training: gradients equal the authors' program, and runs repeat bit by bit."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import golden

from srfoundry import kernels, meta
from srfoundry.networks.mzsr import MZSR
from srfoundry.seeds import generator, redraw
from tests.closed import CPU, prepared


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


def test_one_patch_overfits_and_runs_repeat_bit_by_bit(tmp_path: Path) -> None:
    blocks = torch.rand(1, 3, 8, 8, generator=generator(5))  # edges on which bicubic fails
    image = blocks.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    patches = prepared(tmp_path / "set", {"a": image}, [1, 2])
    bank, _ = kernels.sample(4, size=7, low=1.0, high=2.0, rng=generator(3))
    ends = []
    for run in range(2):
        net = small(16)
        common = {"seed": 1, "device": CPU, "log": lambda step, values: None, "precision": "float32", "key": "k"}
        curve = meta.train(
            net, partial(meta.bicubic_pairs, patches, patch=32, batch=1, scale=2, device=CPU),
            steps=150, learning_rate=3e-3, title="pretrain", checkpoint=tmp_path / f"p{run}", **common,
        )  # fmt: skip
        assert curve[-1]["loss"] < 0.8 * curve[0]["loss"]
        meta.metatrain(
            net, patches, bank, tasks=2, shots=1, patch=16, inner_steps=2, inner_rate=0.01, steps=3,
            learning_rate=1e-3, order="second", loss_weights="annealed", scale=2,
            checkpoint=tmp_path / f"m{run}", **common,
        )  # fmt: skip
        ends.append([weight.detach().clone() for weight in net.parameters()])
    assert all(a.equal(b) for a, b in zip(*ends, strict=True))
