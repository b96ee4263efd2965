"""How long stages will take on this machine: a few timed steps of each training, times the steps that it will take.

Good to a quarter or so on an idle machine. What is no training (reading, scoring, exporting, starting) is taken to be
as much slower here as the dual training's step is slower than on the machine where it was measured.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from pipelines.support.schedule import makespan
from srfoundry.config.params import Params
from srfoundry.core.parallel import usable_cores

if TYPE_CHECKING:
    from srfoundry.core.compute import Compute
    from srfoundry.training.settings import PatchDraw
    from srfoundry.zero_shot.settings import PlainTraining

# Measured with one thread of an Intel Xeon (AVX-512, float32): seconds of a step of `dual` with the default values, and
# seconds of each stage beside its trainings' steps.
REFERENCE = 0.107
FIXED = {
    "synthesize": 16.0,
    "pretrain": 8.0,
    "metatrain": 24.0,
    "dual": 8.0,
    "search": 8.0,
    "prune": 10.0,
    "compress": 16.0,
    "photo": 10.0,
    "photo_compress": 16.0,
    "nonblind": 14.0,
    "estimate": 14.0,
    "evaluate": 94.0,
    "export": 27.0,
}
SEARCHED = 1.15  # steps of `dual` that a step of the search costs, batch for batch: two halves of the photographs
TUNED = 1.05  # likewise of fine-tuning the pruned net beside its dense teacher
DEGRADED = 1.1  # steps of `dual` that a step under random degradations costs, pixel for pixel
MAML = 5.0  # steps of plain training that a second-order inner step costs, pixel for pixel
BESIDE = 1.15  # how much longer stages take side by side, which share caches and memory
TIMED = 1 << 18  # pixels of a timed step, at most: papers' batches fill a GPU, and what is timed here may be a laptop
SAMPLED = 0.3  # steps of USRNet's training that a restored sample costs, pixel for pixel


def seconds(params: Params, names: Sequence[str]) -> dict[str, float]:
    """About how many seconds each of these stages takes with these values on this machine, with nothing beside it.

    A second or two of timed steps. Stages that it does not know count a second.
    """
    from srfoundry.core.compute import Compute, chosen_device, settle

    compute = Compute(chosen_device(params.shared.device), params.shared.precision)
    settle(params.shared.threads, compute.precision, compute.device)
    dual = _once(_dual_step(params, compute)) * _left_out(params.dual.draw)
    pace = dual / (REFERENCE * _size(params.dual.draw) / (16 * 48**2))
    plain = cache(
        lambda: (
            _once(_plain_step(params, compute)) / _timed(params.pretrain.training) / params.pretrain.training.patch**2
        )
    )
    meta, draw = params.metatrain, params.metatrain.draw
    search, tune, blind = params.search, params.prune, params.nonblind
    usr = cache(lambda: _once(_usrnet_step(params, compute)) * _left_out(blind.draw))

    def trained(stage: str) -> float:
        per_dual = dual / _size(params.dual.draw)
        searched = per_dual * 2 * _size(search.draw) * SEARCHED
        tuned = per_dual * _size(tune.draw) * TUNED
        if stage == "dual":
            return params.dual.descent.steps * dual
        if stage == "search":
            return search.descent.steps * searched
        if stage == "prune":
            return tune.descent.steps * tuned
        if stage == "compress":
            return params.compress.search_steps * searched + params.compress.steps * tuned
        photo = per_dual * _size(params.photo.draw) * DEGRADED
        if stage == "photo":
            return params.photo.steps * photo
        if stage == "photo_compress":
            chosen = params.photo_compress
            return photo * (chosen.search_steps * SEARCHED + chosen.steps * TUNED)
        if stage == "pretrain":
            return params.pretrain.training.steps * plain() * _area(params.pretrain.training)
        if stage == "metatrain":
            inner = draw.tasks * draw.shots * draw.patch**2 * meta.inner.steps * MAML
            return plain() * (meta.warmup.steps * _area(meta.warmup) + meta.outer.steps * inner)
        if stage == "nonblind":
            one = usr() / _size(blind.draw)
            sampled = blind.collection.samples * blind.collection.sample_patch**2 * SAMPLED
            looked = blind.classifier.windows * 0.004 + blind.classifier.steps * 0.003
            return blind.descent.steps * usr() + sampled * one + blind.corrector.steps * 0.004 * pace + looked * pace
        return 0.0

    found = {}
    for name in names:
        stage = name.partition("@")[0]
        found[name] = trained(stage) + FIXED.get(stage, 1.0) * pace
    return found


def _dual_step(params: Params, compute: "Compute") -> Callable[[], object]:
    """A step of the stage dual, on noise."""
    import torch

    from srfoundry.core.compute import channels_last
    from srfoundry.dual_regression.loss import loss_of
    from srfoundry.imaging.scales import reductions
    from srfoundry.networks.zoo.architectures import build
    from srfoundry.training.optimiser import Optimisation

    chosen, scale = params.dual, params.shared.scale
    net, duals = (channels_last(build(arch), compute.device) for arch in chosen.archs(scale))
    loss = loss_of(duals, scale=scale, weights=chosen.weights, compute=compute)
    optimisation = Optimisation(net, duals, chosen.descent, fused=True)
    count, side = _timed(chosen.draw), chosen.draw.patch
    batch = {by: torch.rand(count, 3, side // by, side // by, device=compute.device) for by in reductions(scale)}
    return lambda: optimisation.update(loss(net, batch), 1e-4)


def _plain_step(params: Params, compute: "Compute") -> Callable[[], object]:
    """A step of the stage pretrain, on noise."""
    import torch

    from srfoundry.core.compute import channels_last
    from srfoundry.networks.adaptive.mzsr import MZSR

    chosen = params.pretrain
    net = channels_last(MZSR(width=chosen.width, depth=chosen.depth), compute.device)
    side = chosen.training.patch
    images = torch.rand(_timed(chosen.training), 3, side, side, device=compute.device)
    images = images.contiguous(memory_format=torch.channels_last)

    def step() -> None:
        with compute.autocast():
            restored = net(images)
        restored.float().abs().mean().backward()

    return step


def _usrnet_step(params: Params, compute: "Compute") -> Callable[[], object]:
    """Forward and back through the non-blind network, as in a step of the stage nonblind, on noise."""
    import torch

    from srfoundry.core.compute import channels_last
    from srfoundry.networks.zoo.architectures import build

    chosen, scale = params.nonblind, params.shared.scale
    net = channels_last(build(chosen.arch), compute.device)
    side = chosen.draw.patch // scale
    low = torch.rand(_timed(chosen.draw), 3, side, side, device=compute.device)
    kernel = torch.full((1, 4 * scale + 3, 4 * scale + 3), 1.0, device=compute.device)

    def step() -> None:
        with compute.autocast():
            restored = net(low, kernel / kernel.sum(), scale)
        restored.float().abs().mean().backward()

    return step


def whole(parents: Mapping[str, Sequence[str]], each: Mapping[str, float], count: int) -> float:
    """Seconds of all stages together, `count` at a time."""
    return makespan(parents, each, count) * (BESIDE if count > 1 else 1.0)


def jobs(params: Params) -> int:
    """Stages that this machine has cores for at a time; one on a GPU, which a stage fills."""
    from srfoundry.core.compute import chosen_device, is_gpu

    if is_gpu(chosen_device(params.shared.device)):
        return 1
    return max(1, usable_cores() // (params.shared.threads * params.distributed.processes))


def in_words(total: float) -> str:
    """A time as people say it: 40 s, 12 min, 3 h 20 min."""
    minutes = round(total / 60)
    if total < 90:
        return f"{total:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _size(draw: "PatchDraw") -> int:
    return draw.batch * draw.patch**2


def _timed(draw: "PatchDraw | PlainTraining") -> int:
    """Patches of a timed step."""
    return min(draw.batch, max(1, TIMED // draw.patch**2))


def _left_out(draw: "PatchDraw") -> float:
    """How many timed steps a step of the training is."""
    return draw.batch / _timed(draw)


def _area(training: "PlainTraining") -> int:
    return training.batch * training.patch**2


def _once(step: Callable[[], object], least: int = 3) -> float:
    """Seconds of a step, the best of a few: the first ones choose algorithms and touch memory."""
    step()
    best = float("inf")
    for _ in range(least):
        began = time.perf_counter()
        step()
        best = min(best, time.perf_counter() - began)
    return best
