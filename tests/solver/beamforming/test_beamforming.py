"""Beamforming: known optima, the stored channels, and what every answer must keep."""

import dataclasses

import numpy as np
import pytest
import torch

from srfoundry.config.params import check, load
from srfoundry.core import seeds
from srfoundry.core.errors import FoundryError
from srfoundry.solver.batched_networks import Dense
from srfoundry.solver.beamforming import lagd, precoders
from srfoundry.solver.beamforming.precoders import Downlink, downlink, rate
from srfoundry.solver.beamforming.settings import Form, Kind
from srfoundry.solver.settings import SolverSettings
from tests.conftest import reference
from tests.shipped import SHIPPED


def drawn(count: int = 3, users: int = 4, antennas: int = 4, power: float = 100.0, **more: torch.Tensor) -> Downlink:
    """Random channels, noise of power 1."""
    channels = precoders.rayleigh(count, users, antennas, rng=seeds.generator(0, "channels"))
    return downlink(channels, power=power, **more)


def stored(name: str, ratio: int, count: int = 60) -> tuple[dict[str, np.ndarray], Downlink]:
    """The stored channels as a downlink at one SNR."""
    data = reference(name)
    return data, downlink(torch.from_numpy(data["H"][:count]), power=float(data[f"P_{ratio}"]), noise=0.1)


def test_rate_of_orthogonal_users() -> None:
    """Without interference each user has log2(1 + P_i |h_i|^2 / s2); phases and weights do what they should."""
    channels = torch.diag_embed(torch.tensor([[1.0 + 1.0j, 2.0]], dtype=torch.complex128))
    given = downlink(channels, power=5.0, noise=0.5, weights=torch.tensor([1.0, 3.0]))
    found = torch.diag_embed(torch.tensor([[1.0 + 0.0j, 2.0j]], dtype=torch.complex128))
    wanted = np.log2(1 + 1 * 2 / 0.5) + 3 * np.log2(1 + 4 * 4 / 0.5)
    assert abs(float(rate(given, found)) - wanted) < 1e-12
    turned = found * torch.polar(torch.ones(2), torch.tensor([0.3, 2.0])).to(torch.complex128)[:, None]
    assert torch.allclose(rate(given, turned), rate(given, found), atol=1e-12)
    with pytest.raises(FoundryError, match="may use the power P"):
        rate(given, 1.001 * found)


def test_zero_forcing_leaves_no_interference() -> None:
    """At the power P; as many users as antennas, and fewer."""
    for users in (4, 2):
        given = drawn(users=users)
        found = precoders.zf(given)
        table = precoders.gains(given.channels, found)
        own = table.diagonal(dim1=1, dim2=2)
        assert float((table.sum(dim=2) - own).max()) < 1e-18 * float(own.max())
        assert torch.allclose(found.abs().square().sum(dim=(1, 2)), given.power)


def test_slope_of_the_rate() -> None:
    """Its gradient against finite differences, and the value against the independent evaluator."""
    given = drawn(2)
    real = torch.cat([given.channels.real, given.channels.imag], dim=2)
    turned = torch.cat([-given.channels.imag, given.channels.real], dim=2)
    data = (torch.cat([real, turned], dim=1), given.power[:, None], given.noise[:, None], given.weights)
    start = precoders.random_starts(given, 1, rng=seeds.generator(1, "start"))[:, 0]
    variable = torch.cat([start.real, start.imag], dim=2)
    assert torch.allclose(-lagd.minus_rate(variable, data), rate(given, start), atol=1e-12)
    assert torch.autograd.gradcheck(lambda x: lagd.minus_rate(x, data), variable.requires_grad_(), atol=1e-6)


@pytest.mark.parametrize("name", ["M4K4", "M8K8"])
@pytest.mark.parametrize("ratio", [0, 30])
def test_stored_rates(name: str, ratio: int) -> None:
    """MRT, RZF and WMMSE give the stored rates; ten WMMSE iterations those of LAGD's own program, within 2e-3 bit."""
    data, given = stored(name, ratio)
    start = precoders.mrt(given)
    assert np.allclose(rate(given, start), data[f"wsr_MRT_{ratio}"], atol=1e-9)
    assert np.allclose(rate(given, precoders.rzf(given)), data[f"wsr_RZF_{ratio}"], atol=1e-9)
    ten = rate(given, precoders.wmmse(given, start, iterations=10)).numpy()
    assert np.allclose(ten, data[f"wsr_WMMSE10_MRT_{ratio}"], atol=1e-6)
    theirs = data[f"wsr_released_WMMSE10_{ratio}"]
    assert np.abs(ten[: len(theirs)] - theirs).max() < 2e-3


def test_bisection_free_wmmse_has_the_stored_rates() -> None:
    """300 iterations at 20 dB."""
    data, given = stored("M4K4", 20, 8)
    found = rate(given, precoders.wmmse_without_bisection(given, precoders.mrt(given), iterations=300)).numpy()
    assert np.allclose(found, data["wsr_WMMSEfold300_MRT_20"][:8], atol=1e-6)


def test_no_iteration_of_wmmse_lowers_the_rate() -> None:
    """With weights, with more users than antennas, and with weights of 0; power stays below P."""
    for users in (3, 6):
        given = drawn(20, users, 4, 30.0, weights=torch.arange(users).double())
        for method in (precoders.wmmse, precoders.wmmse_without_bisection):
            curve, at = [], precoders.mrt(given)
            for _ in range(15):
                curve.append(rate(given, at))
                at = method(given, at, iterations=1)
            assert (torch.stack(curve).diff(dim=0) > -1e-9).all()


def test_best_preset_reaches_best_of_ten_wmmse() -> None:
    """The stored means over all 60 channels, 4x4 at 20 dB; the benchmark has the others."""
    data, given = stored("M4K4", 20)
    target = max(data[f"wsr_{name}_best10rand_20"].mean() for name in ("WMMSE50", "WMMSEfold200"))
    assert float(lagd.best(given, rng=seeds.generator(0, "best")).rates.mean()) >= target


def test_released_form_has_the_stored_mean() -> None:
    """LAGD as released at 4x4, 20 dB: the mean within a spread of seeds; noise for the slope does as well."""
    data, given = stored("M4K4", 20, 20)
    wanted = float(data["wsr_LAGDrestart_lin20_MRT_20"][:20].mean())
    found = {
        code: lagd.lagd(
            given,
            lagd.network("linear", 4),
            dataclasses.replace(lagd.RELEASED.of(steps=300), code=code),
            rng=seeds.generator(2, "lagd"),
        ).rates.mean()
        for code in ("slope", "noise")
    }
    assert abs(float(found["slope"]) - wanted) < 0.5 and abs(float(found["noise"]) - wanted) < 0.7


def test_the_stabilised_form_works_where_the_published_does_not() -> None:
    """30 dB, 4x4: Algorithm 1 to the letter stays below 20 bits, stabilised it is far above."""
    _, given = stored("M4K4", 30, 6)
    rates = {
        form: float(lagd.beams(given, form, kind="mlp", rng=seeds.generator(3, form)).rates.mean())
        for form in ("published", "stabilised")
    }
    assert rates["published"] < 20 < 26 < rates["stabilised"]


@pytest.mark.parametrize("kind", ["linear", "mlp", "lstm", "cnn"])
@pytest.mark.parametrize("form", ["released", "stabilised"])
def test_power_and_order_of_users(kind: Kind, form: Form) -> None:
    """Every network keeps to the power and improves on MRT; more users than antennas, and more than eight of them."""
    given = drawn(2, 10, 6, 10.0)
    found = lagd.beams(given, form, kind=kind, steps=40, rng=seeds.generator(4, kind))
    used = found.precoders.abs().square().sum(dim=(1, 2))
    assert (used <= given.power * (1 + 1e-6)).all()
    assert (found.rates > rate(given, precoders.mrt(given))).all()
    assert torch.allclose(found.trajectory[-1], found.rates, atol=1e-9)
    if kind != "cnn":  # whose taps reach over users
        order = torch.randperm(10, generator=seeds.generator(5, "order"))
        other = dataclasses.replace(given, channels=given.channels[:, order])
        again = lagd.beams(other, form, kind=kind, steps=40, rng=seeds.generator(4, kind))
        assert torch.allclose(again.precoders, found.precoders[:, order], atol=1e-6)


def test_instances_are_independent_and_seeds_repeat() -> None:
    """`best` and the single forms: together as alone, and the same bytes from the same seed."""
    given = drawn(3, weights=torch.tensor([1.0, 2.0, 0.5, 0.0]))
    first = Downlink(given.channels[1:2], given.power[1:2], given.noise[1:2], given.weights[1:2])
    for form in ("best", "released", "adam"):
        found = lagd.beams(given, form, steps=50, restarts=5, rng=seeds.generator(6, form))
        alone = lagd.beams(first, form, steps=50, restarts=5, rng=seeds.generator(6, form))
        assert torch.allclose(alone.rates[0], found.rates[1], atol=1e-6)
        again = lagd.beams(given, form, steps=50, restarts=5, rng=seeds.generator(6, form))
        assert again.precoders.equal(found.precoders)


def test_best_of_few_users_and_single_precision() -> None:
    """One user: MRT cannot be beaten. Single precision keeps to the power, too."""
    alone = drawn(2, 1, 3)
    assert torch.allclose(lagd.best(alone, rng=seeds.generator(7, "one")).rates, rate(alone, precoders.mrt(alone)))
    given = drawn()
    form = dataclasses.replace(lagd.RELEASED, settings=SolverSettings(steps=20), surface="sphere")
    found = lagd.lagd(given, Dense(8), form, rng=seeds.generator(8, "f"), precision=torch.float32)
    assert found.precoders.dtype == torch.complex128 and (found.rates > 0).all()


@pytest.mark.parametrize("weights", [[1.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.5, 0.0]])
def test_one_user_of_weight(weights: list[float]) -> None:
    """MRT to that user alone cannot be beaten, and `best` finds it; nor do its starts leave that user out."""
    given = drawn(3, len(weights), 4, weights=torch.tensor(weights))
    served = int(np.argmax(weights))
    alone = torch.zeros_like(given.channels)
    alone[:, served] = given.channels[:, served]
    wanted = rate(given, precoders.full_power(given, alone))
    assert torch.allclose(lagd.best(given, rng=seeds.generator(7, "one"), steps=20).rates, wanted, atol=1e-6)
    first = lagd.starts(given, 16, rng=seeds.generator(7, "starts"))
    assert (first[:, :, served].abs().sum(dim=2) > 0).all()


def test_channels_of_zero() -> None:
    """The only user of weight receives nothing: every precoder has the rate 0; others' instances are as ever."""
    channels = precoders.rayleigh(2, 3, 4, rng=seeds.generator(0, "zero"))
    channels[0, 0] = 0
    given = downlink(channels, power=10.0, weights=torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]))
    found = lagd.best(given, rng=seeds.generator(7, "zero"), steps=20)
    assert float(found.rates[0]) == 0 and float(found.rates[1]) > 0
    for method in (precoders.wmmse_without_bisection, precoders.wmmse):
        assert method(given, precoders.mrt(given), iterations=3).isfinite().all()


def test_best_without_its_network() -> None:
    """`steps` of 0: the same starts, WMMSE alone; never better than with it on the same instances, on average."""
    given = drawn(10, power=1000.0)
    with_net, without = (lagd.best(given, rng=seeds.generator(7, "c"), steps=steps) for steps in (50, 0))
    assert float(without.rates.mean()) <= float(with_net.rates.mean()) + 1e-9
    assert (without.rates >= without.trajectory[-1]).all() and len(without.trajectory) == 1


def test_ratios_of_one_name_are_refused() -> None:
    """Before anything is computed: metrics.json has one place for each."""
    values = load(SHIPPED).values()
    for ratios in ([10.0, 10.0], [10.0, 10.0000001]):
        with pytest.raises(FoundryError, match="snr must differ"):
            check({**values, "beamform": {**values["beamform"], "snr": ratios}}, "params.yaml")


def test_mistakes_are_said() -> None:
    """Channels that are no numbers, no power, weights of nobody, zero forcing of too many, powers that differ."""
    channels = precoders.rayleigh(2, 3, 2, rng=seeds.generator(9, "mistakes"))
    with pytest.raises(FoundryError, match="finite numbers"):
        downlink(channels * torch.nan, power=1.0)
    with pytest.raises(FoundryError, match="power above 0"):
        downlink(channels, power=0.0)
    with pytest.raises(FoundryError, match="user of weight above 0"):
        downlink(channels, power=1.0, weights=torch.zeros(3))
    with pytest.raises(FoundryError, match=r"weights that fit channels \[2, 3, 2\], got \[4\]"):
        downlink(channels, power=1.0, weights=torch.ones(4))
    with pytest.raises(FoundryError, match="power that fit"):
        downlink(channels, power=torch.ones(3))
    with pytest.raises(FoundryError, match="as many antennas as users"):
        precoders.zf(downlink(channels, power=1.0))
    with pytest.raises(FoundryError, match="one power"):
        lagd.adam(downlink(channels, power=torch.tensor([1.0, 2.0])), rng=seeds.generator(0))
