"""Two processes take the steps of one: the same samples, gradients equal to rounding, the same weights in both."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from srfoundry.blind.corrector.samples import collect_samples
from srfoundry.blind.corrector.training import train_corrector
from srfoundry.blind.nonblind_pairs import PairDraw, SharpPatches
from srfoundry.blind.nonblind_settings import CorrectorDescent
from srfoundry.blind.nonblind_training import train_usrnet
from srfoundry.compression.budget import Budget, ladders_of
from srfoundry.compression.msgc.cost import count_of
from srfoundry.compression.msgc.mask_search import MaskSearch
from srfoundry.compression.msgc.masked_conv import wrap
from srfoundry.compression.search import WidthSearch
from srfoundry.core.compute import Compute
from srfoundry.core.process_group import ALONE, Processes
from srfoundry.core.seeds import Stream, generator
from srfoundry.core.state import Resumption
from srfoundry.degradation.settings import Model
from srfoundry.dual_regression.batches import Batches, pairs
from srfoundry.dual_regression.loss import loss_of
from srfoundry.dual_regression.training import train
from srfoundry.dual_regression.unpaired import Unpaired
from srfoundry.imaging.patches import Patches
from srfoundry.networks.nonblind.corrector import Corrector
from srfoundry.networks.sr.duals import StraightDual
from srfoundry.networks.sr.kernel_dual import KernelDual
from srfoundry.networks.zoo.architectures import build
from srfoundry.training.settings import Descent, PatchDraw
from srfoundry.zero_shot import kernel_tasks, meta_training, plain_training
from srfoundry.zero_shot.settings import InnerLoop, NoiseDraw, OuterDescent, PlainTraining, TaskDraw
from tests.closed import CPU, loss_weights, nets, photographs, ranges
from tests.masks import pairs_of
from tests.nonblind import data_steps, tiny_usrnet
from tests.processes import alone, together
from tests.searches import along, modelled, wanted
from tests.zero_shot.test_meta_training import groups, small

DRAWS = PatchDraw(patch=16, octave=0.4, batch=5)  # rows that two processes cannot halve
ONCE = Descent(steps=1, learning_rate=1e-3, warmup=0, average=0.0, clip=1e9)  # its gradient is left as it is
BOTH = [Processes(rank, 2) for rank in range(2)]
QUIET = NoiseDraw(noisy=0.0, noise=0.0)


def dual(processes: Processes, folder: Path, accumulate: int = 1) -> list[nn.Module]:
    net, duals = nets()
    batches = Batches(
        patches=Patches.open(folder),
        draws=DRAWS,
        scale=2,
        stream=Stream(1, "dual"),
        degradation=ranges("photographs"),
        processes=processes,
        accumulate=accumulate,
    )
    loss = loss_of(duals, scale=2, weights=loss_weights(0.1), compute=Compute(CPU))
    train(net, duals, loss, batches, ONCE, resumption=kept(processes, folder, "dual"), skip=1e6)
    return [net, duals]


def pretrain(processes: Processes, folder: Path, accumulate: int = 1) -> list[nn.Module]:
    net, chosen = small(), PlainTraining(patch=16, batch=5, steps=1, learning_rate=1e-3)
    plain_training.train(
        net,
        partial(kernel_tasks.blurred_pairs, Patches.open(folder), groups(), chosen, noise=QUIET, device=CPU),
        chosen,
        schedule="cosine",
        compute=Compute(CPU, processes=processes, accumulate=accumulate),
        stream=Stream(1, "pretrain"),
        resumption=kept(processes, folder, "pretrain"),
    )
    return [net]


def metatrain(processes: Processes, folder: Path, accumulate: int = 1) -> list[nn.Module]:
    net = small()
    meta_training.metatrain(
        net,
        partial(
            kernel_tasks.draw_tasks,
            Patches.open(folder),
            groups(),
            TaskDraw(tasks=3, shots=1, patch=16, support="self_pair"),
            noise=QUIET,
            device=CPU,
        ),
        InnerLoop(steps=2, rate=0.01, order="second", loss_weights="annealed", learn_rates=True),
        OuterDescent(steps=1, learning_rate=1e-3, schedule="constant", clip=1e9),
        compute=Compute(CPU, processes=processes, accumulate=accumulate),
        stream=Stream(1, "metatrain"),
        resumption=kept(processes, folder, "metatrain"),
    )
    return [net]


def search(processes: Processes, folder: Path, accumulate: int = 1) -> list[nn.Module]:
    return _search("first", processes, folder, accumulate)


def second_order_search(processes: Processes, folder: Path, _accumulate: int = 1) -> list[nn.Module]:
    return _search("second", processes, folder, 1)


def _search(order: Any, processes: Processes, folder: Path, accumulate: int) -> list[nn.Module]:
    net, duals = nets()
    units, patches = net.units(), Patches.open(folder)
    budget = Budget.parameters(net, units, ladders_of(net, units, 4))
    loss = loss_of(duals, scale=2, weights=loss_weights(0.1), compute=Compute(CPU))
    model, rng = modelled(order, "threshold", "activation"), generator(1, "logits")
    searched = WidthSearch(net, loss, budget, wanted(0.3, 0.01), model, along(1), trained=[net, duals], rng=rng)

    def draw(half: str, index: int) -> Any:
        return dealt(patches, processes.parts(accumulate, DRAWS.batch), half, index)

    halves = (partial(draw, "train"), partial(draw, "alpha"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        searched.run(halves, kept(processes, folder, order))
    return [net, duals, searched.widths]


def masks(processes: Processes, folder: Path, accumulate: int = 1) -> list[nn.Module]:
    net, duals = nets()
    found, patches = pairs_of(net.units()), Patches.open(folder)
    masked = wrap(net, found)
    loss = loss_of(duals, scale=2, weights=loss_weights(0.1), compute=Compute(CPU))
    count = count_of(net, found, groups=4, low=None)
    target, stream = wanted(0.3, 0.02, multiple=2), Stream(1, "compress")
    searched = MaskSearch(masked, found, loss, count, target, along(1), trained=[duals], stream=stream)

    def draw(index: int) -> Any:
        return dealt(patches, processes.parts(accumulate, DRAWS.batch), index)

    searched.run(draw, kept(processes, folder, "masks"))
    return [masked, duals]


def nonblind(processes: Processes, folder: Path, accumulate: int = 1) -> list[nn.Module]:
    net, corrector = tiny_usrnet(), Corrector(width=16)
    context: Any = {
        "scales": [2],
        "compute": Compute(CPU, processes=processes, accumulate=accumulate),
        "stream": Stream(1, "nonblind"),
    }
    drawn = PairDraw(SharpPatches(Patches.open(folder), DRAWS), noise=0.04, softness=0.5)
    train_usrnet(net, drawn, ONCE, motion=0.5, resumption=kept(processes, folder, "usrnet"), **context)
    samples = collect_samples(
        data_steps(),
        drawn,
        samples=10,
        variances=(0.3, 2.5),
        resumption=kept(processes, folder, "samples"),
        **context,
    )
    once = CorrectorDescent(steps=1, rate=1e-3)
    train_corrector(corrector, samples, once, stream=context["stream"], resumption=kept(processes, folder, "corrector"))
    return [net, corrector]


def dealt(patches: Patches, parts: Sequence[Processes], *names: str | int) -> list[tuple[Any, float]]:
    """The rows of each part of a batch, and its share."""
    return [
        (pairs(patches, DRAWS, None, scale=2, rng=generator(1, *names), processes=part), part.share(DRAWS.batch))
        for part in parts
    ]


TRAINERS: list[Callable[[Processes, Path, int], Sequence[nn.Module]]] = [
    *(dual, pretrain, metatrain, search, second_order_search, masks, nonblind)
]


def kept(processes: Processes, folder: Path, name: str) -> Resumption:
    return Resumption(folder / f"{name}{processes.count}.pt", "k", processes=processes)


def one_step_of_each(
    processes: Processes, folder: Path, accumulate: int = 1
) -> dict[str, tuple[list[torch.Tensor], list[torch.Tensor]]]:
    """Gradients and weights of every trainer after one step."""
    found = {}
    for trainer in TRAINERS:
        values = [value for net in trainer(processes, folder, accumulate) for value in net.parameters()]
        slopes = [value.grad.detach() for value in values if value.grad is not None]
        found[trainer.__name__] = (slopes, [value.detach() for value in values])
    return found


def of_one_part_and_of_two(processes: Processes, folder: Path) -> tuple[Any, Any]:
    """The same with each process's rows at once, and in two parts."""
    return one_step_of_each(processes, folder), one_step_of_each(processes, _beside(folder, processes.rank), 2)


def test_gradients_of_two_processes_are_those_of_one(tmp_path: Path) -> None:
    """Also where rows do not halve; and second-order ones go through what the other process has done.

    As many parts give the same bytes, whichever process computes them.
    """
    photographs(tmp_path, (1, 2))
    (first, parted), (second, _) = together(2, of_one_part_and_of_two, tmp_path)
    whole, fours = alone(one_step_of_each, tmp_path), one_step_of_each(ALONE, _beside(tmp_path, 4), 4)
    for name in ("dual", "pretrain"):
        for mine, other in zip(fours[name][1], parted[name][1], strict=True):
            assert mine.equal(other), f"{name}: the same bytes of four parts in one and in two processes"
    for name, (slopes, _) in whole.items():
        assert_near(name, slopes, first[name][0])
        for mine, other in zip(first[name][1], second[name][1], strict=True):
            assert mine.equal(other), f"{name}: the same bytes in both"


@pytest.mark.parametrize("parts", [2, 3])
def test_gradients_of_parts_are_those_of_the_whole(tmp_path: Path, parts: int) -> None:
    """Gradient accumulation, in every training."""
    photographs(tmp_path, (1, 2))
    (whole, parted) = (one_step_of_each(ALONE, _beside(tmp_path, count), count) for count in (1, parts))
    for name, (slopes, _) in whole.items():
        assert_near(name, slopes, parted[name][0])


def assert_near(name: str, slopes: Sequence[torch.Tensor], others: Sequence[torch.Tensor]) -> None:
    """Equal to rounding, and there."""
    assert slopes, name
    size = torch.cat([slope.flatten() for slope in slopes]).norm()
    off = torch.cat([(slope - other).flatten() for slope, other in zip(slopes, others, strict=True)]).norm()
    assert off < 1e-4 * size, f"{name}: {float(off / size)}"


def _beside(folder: Path, count: int) -> Path:
    """A folder with the same photographs, and no checkpoint of the others."""
    made = folder / f"in {count}"
    made.mkdir()
    for path in [each for each in folder.iterdir() if each.suffix != ".pt" and not each.name.startswith("in ")]:
        (made / path.name).symlink_to(path)
    return made


@pytest.mark.parametrize("model", ["photographs", "bicubic"])
@pytest.mark.parametrize("name", ["conditioned", "drn"])
@pytest.mark.parametrize("operator", [False, True])
@pytest.mark.parametrize("parts", [2, 3])
def test_the_loss_of_a_batch_is_the_mean_of_its_parts(
    tmp_path: Path, name: str, model: Model, operator: bool, parts: int
) -> None:
    """Whatever its rows went through, images without a photograph among them, also where a part has none of these."""
    net = build({"name": name, "scale": 2, "blocks": 1, "width": 8})
    loose = [torch.rand(1, 3, 12, 12, generator=generator(1, "loose", index)) for index in range(2)]
    batches = {
        each: Batches(
            patches=photographs(tmp_path, (1, 2)),
            draws=PatchDraw(patch=16, octave=0.4, batch=7),
            scale=2,
            stream=Stream(1, "parts"),
            degradation=ranges(model),
            unpaired=Unpaired(images=loose, share=0.3, kernels=[torch.ones(1, 1, 1)] * 2 if operator else ()),
            processes=each,
        )
        for each in (ALONE, *(Processes(rank, parts) for rank in range(parts)))
    }
    duals = StraightDual(scale=2, width=4) if name == "conditioned" else nets()[1]
    if operator:
        duals = KernelDual(scale=2, size=1, decimation="bicubic")
    loss = loss_of(duals, scale=2, weights=loss_weights(0.1), compute=Compute(CPU))
    for index in range(4):
        whole, *others = (
            {term: float(value.detach()) * each.share for term, value in loss(net, each(index)).items()}
            for each in batches.values()
        )
        for term, value in whole.items():
            assert sum(part[term] for part in others) == pytest.approx(value, rel=1e-4), term
