"""How long a network takes at other widths, measured: what parameters and multiply-adds can only guess.

Units of a kind (compression.budget.kinds) are alike for a runtime, so they are moved together, one kind at a time, and
share what was saved: far above the clock's noise and few networks to build. Nets are timed in turns, so that a busy
moment meets all of them. The savings are then scaled so that their sum is right for a net that is narrow everywhere.
For any other net they are a prediction, which `proved` compares with the clock.
"""

import copy
import logging
import statistics
import time
import warnings
from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor, nn

from srfoundry.core.errors import FoundryError
from srfoundry.networks.sr.prunable import Unit, thin

Runner = Callable[[nn.Module, Tensor], Callable[[], object]]
Clock = Callable[[Callable[[], object]], float]
MISSED = 0.05  # of the whole net's time: a saving that falls short of its target by more is warned of


def onnx_runner(net: nn.Module, low: Tensor, *, threads: int) -> Callable[[], object]:
    """A call that runs a copy of `net` on this one image in ONNX Runtime on the CPU; nothing is written."""
    import onnxruntime

    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)  # of operators of torchvision that are not there
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            copied = copy.deepcopy(net).cpu().float().eval()
            program = torch.onnx.export(copied, (low,), dynamo=True, verbose=False, input_names=["low"])
    finally:
        logger.setLevel(before)
    assert program is not None, "torch.onnx gives a program for dynamo=True"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    blob = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(blob, options, providers=["CPUExecutionProvider"])
    feed = {"low": low.numpy()}
    return lambda: session.run(None, feed)


def seconds(call: Callable[[], object]) -> float:
    """The wall-clock seconds of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def in_turns(calls: Sequence[Callable[[], object]], rounds: int, clock: Clock = seconds) -> list[float]:
    """Median time of each call, taken in turns (A B C, C B A, ...) after one that does not count."""
    for call in calls:
        call()
    times: list[list[float]] = [[] for _ in calls]
    for turn in range(rounds):
        for index in range(len(calls))[:: 1 if turn % 2 == 0 else -1]:
            times[index].append(clock(calls[index]))
    return [statistics.median(series) for series in times]


def tables_of(
    net: nn.Module,
    units: Sequence[Unit],
    ladders: Sequence[Sequence[int]],
    low: Tensor,
    alike: Sequence[Hashable],
    *,
    runner: Runner,
    rounds: int,
    clock: Clock = seconds,
) -> tuple[float, list[list[float]]]:
    """Time of the whole net, and for each unit the time that its widths take, ascending.

    Args:
        low: the image that is timed.
        alike: each unit's kind; units with equal kinds have equal ladders.
        runner: makes a net ready to run on `low`, as in ONNX Runtime.

    Raises:
        FoundryError: the narrowest net is not quicker than the whole one, as on a machine with other work.
    """
    members = {kind: [at for at, other in enumerate(alike) if other == kind] for kind in dict.fromkeys(alike)}
    moves = [(kind, step) for kind, places in members.items() for step in range(len(ladders[places[0]]) - 1)]
    narrow = {at: 0 for at in range(len(units))}

    def ready(steps: dict[int, int]) -> Callable[[], object]:
        """The net with some units at a step of their ladders."""
        chosen = [units[at] for at in steps]
        kept = [torch.arange(ladders[at][step]) for at, step in steps.items()]
        return runner(thin(net, chosen, kept), low)

    calls = [ready({}), ready(narrow), *[ready(dict.fromkeys(members[kind], step)) for kind, step in moves]]
    whole, narrowest, *moved = in_turns(calls, rounds, clock)
    if not narrowest < whole:
        raise FoundryError(
            f"latency must fall with the widths, got {1e3 * narrowest:.3g} ms for the narrowest net and "
            f"{1e3 * whole:.3g} ms for the whole one; measure again on a machine that does nothing else"
        )
    measured = dict(zip(moves, moved, strict=True))
    saved: dict[Hashable, list[float]] = {}
    for kind, places in members.items():
        series = [measured[kind, step] for step in range(len(ladders[places[0]]) - 1)]
        saved[kind] = [max(0.0, whole - spent) / len(places) for spent in ascending([*series, whole])]
    believed = sum(saved[kind][0] for kind in alike)
    factor = (whole - narrowest) / believed if believed > 0 else 0.0
    share = [[factor * (saved[kind][0] - gone) for gone in saved[kind]] for kind in alike]
    return whole, share


def proved(
    whole: nn.Module,
    cut: nn.Module,
    low: Tensor,
    *,
    predicted: float,
    remove: float,
    runner: Runner,
    rounds: int = 31,
    clock: Clock = seconds,
) -> dict[str, float]:
    """The cut net's time over the whole one's, measured in turns, and what the tables said it would be.

    Warns where the saving is more than MISSED short of `remove`: other work on the machine must not break a run.

    Args:
        predicted: the fraction of the time that is gone by the tables.
        remove: the fraction that was to go.
    """
    before, after = in_turns([runner(net, low) for net in (whole, cut)], rounds, clock)
    saved = 1 - after / before
    if saved < remove - MISSED:
        warnings.warn(
            f"the cut net's latency must be {remove:.1%} below the whole one's, got {saved:.1%} measured "
            f"({1e3 * before:.3g} to {1e3 * after:.3g} ms) where {predicted:.1%} was predicted; "
            "search again on a machine that does nothing else, or ask for more",
            stacklevel=2,
        )
    return {"latency_ratio": after / before, "latency_ratio_predicted": 1 - predicted}


def ascending(series: Sequence[float]) -> list[float]:
    """The nearest series that never falls (pool adjacent violators): a wider layer is no quicker but for noise."""
    pools: list[tuple[float, int]] = []
    for value in series:
        mean, count = value, 1
        while pools and pools[-1][0] > mean:
            before, length = pools.pop()
            mean, count = (before * length + mean * count) / (length + count), length + count
        pools.append((mean, count))
    return [mean for mean, count in pools for _ in range(count)]
