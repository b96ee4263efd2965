"""Every method on the same channels, by its name in metrics.json."""

from srfoundry.core.seeds import Stream, generator
from srfoundry.solver.beamforming import lagd, precoders
from srfoundry.solver.beamforming.comparison import compare
from srfoundry.solver.beamforming.settings import Effort


def test_methods_have_their_names_and_curves_end_at_the_rates() -> None:
    given = precoders.downlink(precoders.rayleigh(2, 3, 4, rng=generator(0, "channels")), power=10.0)
    chosen = Effort(forms=["released", "best"], network="linear", steps=5, iterations=3, restarts=2)
    rates, curves = compare(given, chosen, Stream(1, "beamform"))
    assert list(rates) == ["wmmse", "folded", "released", "mrt", "rzf", "best"]
    assert {name: len(curve) for name, curve in curves.items()} == {"wmmse": 3, "folded": 3, "released": 5}
    assert rates["wmmse"] == curves["wmmse"][-1] > rates["mrt"]
    alone = lagd.beams(given, "released", rng=Stream(1, "beamform").rng("released"), steps=5)
    assert rates["released"] == float(alone.rates.mean())
