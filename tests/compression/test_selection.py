"""Greedy selection and surgery: the released code's sixty choices, exact thinning, a NaN guard, a resumable stage."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from srfoundry.compression.selection import UnitSelection, select
from srfoundry.compression.settings import GreedySelection
from srfoundry.core.compute import Compute
from srfoundry.core.errors import Diverged
from srfoundry.core.seeds import generator
from srfoundry.core.state import Resumption
from srfoundry.dual_regression.loss import loss_of
from srfoundry.networks.sr.drn import DRN
from srfoundry.networks.sr.duals import DualNets
from srfoundry.networks.sr.prunable import largest, masked, thin, widths_of
from tests.closed import CPU, loss_weights, nets, photographs
from tests.conftest import reference
from tests.stub import Attentive, attentive

ORDER = [  # of the authors' modules, under our names
    "head",
    *(f"downs.{i}.{part}" for i in range(2) for part in ("reduce", "expand")),
    *(f"ups.{i}.{part}" for i in range(2) for part in (
        "blocks.0.first", "blocks.0.second", "blocks.0.squeeze", "blocks.0.excite", "spread", "merge",
    )),
    *(f"tails.{i}" for i in range(3)),
]  # fmt: skip


def draw_as_authors(net: DRN, duals: DualNets) -> None:
    """The weights of the stored run: He's normal from numpy's RandomState(21), in the order of the modules."""
    stream = np.random.RandomState(21)
    parameters = dict(net.named_parameters())
    names = [f"{name}.{part}" for name in ORDER for part in ("weight", "bias")]
    drawn = [parameters[name] for name in names if name in parameters]
    drawn += [duals.get_parameter(f"{k}.{name}.weight") for k in range(2) for name in ("reduce", "paint")]
    for weight in drawn:
        deviation = (2 / weight[0].numel()) ** 0.5 if weight.ndim == 4 else 0.05
        weight.data.copy_(torch.from_numpy((stream.randn(*weight.shape) * deviation).astype(np.float32)))


def selecting(per_round: int, rate: float) -> GreedySelection:
    return GreedySelection(per_round=per_round, select_batches=2, select_batch=2, select_rate=rate, feature_weight=1.0)


def test_greedy_selection_as_released() -> None:
    """One channel a round: all sixty choices in order, their scores, the masks, and the pruned net's outputs."""
    data = reference("drc_greedy_selection")
    net, duals = DRN(scale=4, blocks=1, width=16, peak=255.0).double(), DualNets(scale=4, width=16).double()
    draw_as_authors(net, duals)
    batches = [
        {f: torch.from_numpy(data[f"b{b}_{name}"]).double() for f, name in ((4, "lr4"), (2, "lr2"), (1, "hr"))}
        for b in range(2)
    ]
    dense = thin(net, [], [])
    loss = loss_of(duals, scale=4, weights=loss_weights(0.1), compute=Compute(CPU))
    order: list[int] = []
    seen: list[Tensor] = []
    kept = []
    for unit, width in zip(net.units(), data["cfg"].tolist(), strict=True):
        filling = UnitSelection(net, dense, unit, batches, loss, 1.0)
        chosen, _ = filling.fill(width, per_round=1, rate=1e-7, note=lambda missed: seen.append(missed.clone()))
        order += chosen
        kept.append(torch.tensor(sorted(chosen)))
    assert order == data["order"].tolist()
    torch.testing.assert_close(seen[0], torch.from_numpy(data["score0"]).double(), rtol=1e-3, atol=0)
    with torch.no_grad():
        masked = net.images(batches[0][4])
        thinned = thin(net, net.units(), kept).images(batches[0][4])
    for k in range(3):
        torch.testing.assert_close(masked[k], torch.from_numpy(data[f"out{k}"]), atol=1e-4, rtol=0)
        torch.testing.assert_close(thinned[k], masked[k], atol=1e-10, rtol=0)


@pytest.mark.parametrize("scale", [2, 3])
def test_thinning_is_masking_and_gives_a_plain_net(scale: int) -> None:
    net, _ = nets(scale)
    units = net.units()
    kept = [torch.tensor([1, 3]), torch.tensor([0, 5, 9, 15]), torch.tensor([2, 3, 11])]
    masked = thin(net, [], [])
    for unit, channels in zip(units, kept, strict=True):
        weight = masked.get_parameter(f"{unit.consumer}.weight")
        gone = torch.ones(weight.shape[1], dtype=torch.bool)
        gone[channels] = False
        weight.data[:, gone] = 0
    low = torch.rand(1, 3, 9, 7, generator=generator(1, "low"))
    smaller = thin(net, units, kept)
    torch.testing.assert_close(smaller(low), masked(low), atol=1e-6, rtol=0)
    rebuilt = DRN(scale=scale, blocks=1, width=8, inner=widths_of(smaller, units))
    rebuilt.load_state_dict(smaller.state_dict())
    torch.testing.assert_close(rebuilt(low), smaller(low), atol=0, rtol=0)


def test_keeping_everything_changes_nothing() -> None:
    net, _ = nets()
    units = net.units()
    low = torch.rand(1, 3, 8, 8, generator=generator(1, "low"))
    same = thin(net, units, largest(net, units, widths_of(net, units)))
    torch.testing.assert_close(same(low), net(low), atol=0, rtol=0)


@pytest.mark.parametrize("channels", [[], [1, 1], [99]])
def test_thinning_refuses_a_wrong_list(channels: list[int]) -> None:
    net, _ = nets()
    unit = net.units()[0]
    with pytest.raises(ValueError, match=r"kept channels of downs\.0"):
        thin(net, [unit], [torch.tensor(channels, dtype=torch.long)])


def choose(folder: Path, *, rate: float = 1e-3, stop: int | None = None, per_round: int = 2) -> list[list[int]]:
    net, duals = nets()
    patches = photographs(folder / "set")
    batches = [patches.batch(2, 16, rng=generator(1, "batch", i)) for i in range(2)]
    loss = loss_of(duals, scale=2, weights=loss_weights(0.1), compute=Compute(CPU))

    def log(step: int, _values: dict[str, float]) -> None:
        if step == stop:
            raise KeyboardInterrupt

    sparse = thin(net, [], [])
    resumption = Resumption(folder / "prune.pt", "k", log)
    kept, history = select(net, sparse, [4, 8, 16], batches, loss, selecting(per_round, rate), resumption)
    assert len(history) == 3
    return [channels.tolist() for channels in kept]


def test_selection_resumes_between_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srfoundry.training.loop.SAVE_SECONDS", 0.0)
    whole = choose(tmp_path / "whole")
    assert [len(channels) for channels in whole] == [4, 8, 16]
    with pytest.raises(KeyboardInterrupt):
        choose(tmp_path / "cut", stop=2)
    assert choose(tmp_path / "cut") == whole


def test_a_diverging_unit_is_begun_again_slower(tmp_path: Path) -> None:
    kept = choose(tmp_path / "fast", rate=3.0, per_round=4)
    assert [len(channels) for channels in kept] == [4, 8, 16]


def test_hopeless_divergence_stops(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="select_rate|not finite"):
        choose(tmp_path, rate=1e38)


def attentive_choice(folder: Path, net: Attentive, dense: Attentive, stop: int | None = None) -> list[Tensor]:
    patches = photographs(folder / "set")
    batches = [patches.batch(2, 16, rng=generator(1, "batch", i)) for i in range(2)]

    def loss(net: nn.Module, batch: Mapping[int, Tensor]) -> dict[str, Tensor]:
        return {"total": (net(batch[2]) - batch[1]).abs().mean()}

    def log(step: int, _values: dict[str, float]) -> None:
        if step == stop:
            raise KeyboardInterrupt

    resumption = Resumption(folder / "prune.pt", "k", log)
    return select(net, dense, [2, 5, 4], batches, loss, selecting(2, 1e-3), resumption)[0]


def test_attention_and_perceptron_are_selected_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads tied, and the sparse net with its queries masked is the thinned one; resumes to the same choice."""
    monkeypatch.setattr("srfoundry.training.loop.SAVE_SECONDS", 0.0)
    dense, sparse = attentive(), attentive()
    kept = attentive_choice(tmp_path / "whole", sparse, dense)
    assert [len(channels) for channels in kept] == [2, 5, 4]
    columns = sparse.proj.weight.detach().abs().sum(dim=0).reshape(2, 4)
    assert [row.nonzero()[:, 0].tolist() for row in columns] == [kept[0].tolist()] * 2
    low = torch.rand(1, 3, 6, 5, generator=generator(1, "low"))
    flags = torch.zeros(4)
    flags[kept[0]] = 1
    with masked(sparse, sparse.units()[:1], [lambda: flags], gates_only=True), torch.no_grad():
        wanted = sparse(low)
    torch.testing.assert_close(thin(sparse, sparse.units(), kept)(low), wanted, atol=2e-6, rtol=0)
    with pytest.raises(KeyboardInterrupt):
        attentive_choice(tmp_path / "cut", attentive(), dense, stop=1)
    again = attentive()
    assert all(torch.equal(a, b) for a, b in zip(kept, attentive_choice(tmp_path / "cut", again, dense), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), sparse.parameters(), strict=True))


def test_selection_may_start_from_other_weights(tmp_path: Path) -> None:
    """The channels keep the starting net's weights; the dense one says only which features are wanted."""
    dense, other = attentive(), attentive()
    with torch.no_grad():
        for weight in other.parameters():
            weight *= 1.01
    first = {name: value.detach().clone() for name, value in other.named_parameters()}
    kept = attentive_choice(tmp_path, other, dense)
    assert torch.equal(other.fc1.weight, first["fc1.weight"])
    moved = (other.fc2.weight - first["fc2.weight"]).detach()[:, kept[1]].abs().max()
    assert 0 < float(moved) < 0.005 * float(first["fc2.weight"].abs().max())
