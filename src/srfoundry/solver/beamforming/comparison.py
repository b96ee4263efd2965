"""Every method on the same channels: what it ends at, and how it comes there."""

from collections.abc import Callable, Mapping

from srfoundry.core.seeds import Stream
from srfoundry.solver.beamforming import lagd, precoders
from srfoundry.solver.beamforming.precoders import Downlink, Precoders
from srfoundry.solver.beamforming.settings import Effort

CLOSED: Mapping[str, Callable[[Downlink], Precoders]] = {"mrt": precoders.mrt, "rzf": precoders.rzf}
ITERATED: Mapping[str, Callable[..., Precoders]] = {
    "wmmse": precoders.wmmse,
    "folded": precoders.wmmse_without_bisection,
}


def compare(given: Downlink, chosen: Effort, stream: Stream) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Mean sum rates in bit by method: at the end, and after each step of those that have steps of one kind.

    Args:
        stream: each form draws from a generator of its own name.
    """
    curves = {
        name: precoders.rates_over_iterations(given, method, precoders.mrt(given), iterations=chosen.iterations)
        for name, method in ITERATED.items()
    }
    rates = {name: float(precoders.rate(given, method(given)).mean()) for name, method in CLOSED.items()}
    for form in chosen.forms:
        found = lagd.beams(
            given,
            form,
            rng=stream.rng(form),
            kind=chosen.network,
            steps=chosen.steps,
            restarts=chosen.restarts if form == "best" else 1,
        )
        rates[form] = float(found.rates.mean())
        if form != "best":  # whose steps are of several kinds
            curves[form] = found.trajectory.mean(dim=1).tolist()
    return {name: curve[-1] for name, curve in curves.items()} | rates, curves
