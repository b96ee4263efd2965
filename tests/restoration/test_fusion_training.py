"""Training of what fuses restorations: on what the product makes of photographs; it resumes to the same bytes."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from srfoundry.blind.auto.histories import Drawn
from srfoundry.blind.decision import Candidates, Decision
from srfoundry.blind.estimate import Networks
from srfoundry.config.params import load
from srfoundry.core.compute import Compute
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import Stream, generator, redraw
from srfoundry.core.state import Resumption
from srfoundry.degradation import kernels
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.degradation.operator import degrade
from srfoundry.imaging.patches import Patches
from srfoundry.networks.nonblind.corrector import Corrector
from srfoundry.networks.nonblind.fusion import VIEWS, Fusion, start_plain
from srfoundry.restoration.blind_restoration import Restoration
from srfoundry.restoration.fusion_photographs import PhotographDraw
from srfoundry.restoration.fusion_training import (
    Made,
    Samples,
    collect_samples,
    restoration,
    train_fusion,
    validate_fusion,
)
from srfoundry.restoration.restorers.restorer import RestoreOptions, Ticker
from srfoundry.restoration.restorers.usrnet import UsrnetRestorer
from srfoundry.training.settings import Descent
from tests.blind_cases import power_law
from tests.closed import CPU, prepared
from tests.nonblind import data_steps, stopping
from tests.shipped import SHIPPED

PARAMS = load(SHIPPED)
DESCENT = Descent(steps=4, learning_rate=1e-3, warmup=1, average=0.5, clip=1.0)
SMALL = {"photographs": 3, "others": 1, "thumbnails": 1, "patch": 112, "square": 32, "batch": 2, "descent": DESCENT}
CHOSEN = PARAMS.fusion.model_copy(update=SMALL)
STREAM = Stream(1, "fusion")
KERNEL = kernels.gaussian(9, torch.tensor([2.0]), torch.tensor([2.0]), torch.zeros(1)).float()


class Believing(Restoration):
    """One that takes the image 0 for sharp, 1 for surely blurred by a Gaussian, others for perhaps blurred by it."""

    def observe(
        self, low: torch.Tensor, name: str, ticker: Ticker, quality: int | None = None
    ) -> tuple[Observation, Decision]:
        beside = None if name == "1" else Candidates(KERNEL, torch.ones(1), weight=0.5)
        blurred = Decision(restore=name != "0", seen="blur", chance=1.0, phase=0.0, candidates=beside)
        return Observation(low, KERNEL, self.sampling), blurred


PRODUCT = {2: Believing(RestoreOptions(Path("m"), Path("p")), UsrnetRestorer(2, data_steps()), Sampling(2), None, None)}


def photographs(folder: Path) -> Patches:
    return prepared(folder, {f"image{seed}": power_law(128, seed).clamp(0, 1) for seed in range(2)}, [1, 2])


def collected(folder: Path, patches: Patches, *, stop: int | None = None) -> Samples:
    kept = Resumption(folder / "samples.pt", "k", stopping(stop))
    return collect_samples(PRODUCT, PhotographDraw(patches, CHOSEN), scales=(2,), stream=STREAM, resumption=kept)


def untrained() -> Fusion:
    net = Fusion(scales=(2,), widths=(4, 4, 4))
    redraw(net, generator(1, "net"))
    start_plain(net)
    return net


def trained(samples: Samples, folder: Path, *, stop: int | None = None) -> Fusion:
    net, kept = untrained(), Resumption(folder / "fusion.pt", "k", stopping(stop))
    train_fusion(net, samples, CHOSEN, compute=Compute(CPU), stream=STREAM, resumption=kept)
    return net


def same(one: Fusion, other: Fusion) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_training_resumes_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srfoundry.training.loop.SAVE_SECONDS", 0.0)
    patches = photographs(tmp_path)
    whole = collected(tmp_path / "whole", patches)
    with pytest.raises(KeyboardInterrupt):
        collected(tmp_path / "cut", patches, stop=2)
    resumed = collected(tmp_path / "cut", patches)
    assert len(whole.rows) == len(resumed.rows) == 5  # one was sharp, two have another beside them
    assert all(torch.equal(a["both"], b["both"]) for a, b in zip(whole.rows, resumed.rows, strict=True))
    net = trained(whole, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(whole, tmp_path / "cut", stop=2)
    assert same(net, trained(resumed, tmp_path / "cut")) and not same(net, untrained())


def test_thumbnails_come_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[set[str]] = []

    def draw(count: int, scale: int, *, shares: Mapping[str, float], rng: torch.Generator) -> Drawn:
        drawn.append(set(shares))
        return Drawn(KERNEL, torch.zeros(count, dtype=torch.int64))

    monkeypatch.setattr("srfoundry.blind.auto.histories.draw", draw)
    collected(tmp_path, photographs(tmp_path))
    assert ["shake" in each for each in drawn] == [True, True, True, False]


def test_squares_are_turned_with_what_they_show(tmp_path: Path) -> None:
    found = Samples()
    high = torch.rand(1, 3, 24, 32, generator=generator(1, "high"))
    decision = Decision(restore=True, seen="blur", chance=1.0, phase=0.0)
    found.add(Made(Observation(high[..., ::2, ::2], KERNEL, Sampling(2)), decision, high, high), high)
    drawn = [found.draw(1, 16, rng=generator(seed, "draw"))[0] for seed in range(8)]
    assert all(square.shape == (1, VIEWS + 1, 16, 16) for square in drawn)
    assert all(torch.equal(square[:, 0], square[:, -1]) for square in drawn)
    assert len({tuple(square[0, 0, 0].tolist()) for square in drawn}) > 3


def test_nothing_to_learn_from_is_an_error(tmp_path: Path) -> None:
    few = {"photographs": 1, "thumbnails": 1}  # a sharp one; nothing milder is beside the other
    patches, one = photographs(tmp_path), CHOSEN.model_copy(update=few)
    with pytest.raises(FoundryError, match="got none of 2; raise fusion.photographs"):
        collect_samples(
            PRODUCT,
            PhotographDraw(patches, one),
            scales=(2,),
            stream=STREAM,
            resumption=Resumption(tmp_path / "samples.pt", "k"),
        )
    with pytest.raises(FoundryError, match="132x132 pixels or more, got none"):
        PhotographDraw(patches, CHOSEN.model_copy(update={"patch": 132}))


def test_validation_compares_what_would_be_given_out_with_what_is_fused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("srfoundry.restoration.fusion_training.JUDGED", 3)
    scores = validate_fusion(untrained().eval(), PRODUCT, PhotographDraw(photographs(tmp_path), CHOSEN), stream=STREAM)
    assert set(scores) == {"x2_given", "x2_fused"}
    assert scores["x2_given"] == pytest.approx(scores["x2_fused"], abs=1e-3)


def test_the_product_that_it_learns_from_decides_and_does_not_fuse() -> None:
    networks = Networks(data_steps(), Corrector(width=8), Compute(CPU), fusion=untrained())
    made = restoration(networks, PARAMS.estimate.settings, 2, stream=STREAM)
    assert made.fusion is None and made.estimation is not None and made.estimation.decides


def test_photographs_that_were_prepared_for_another_scale_are_cut_so_that_they_fit(tmp_path: Path) -> None:
    patches = prepared(tmp_path, {"image": power_law(128, 1).clamp(0, 1)}, [1, 3])
    _, low, high = PhotographDraw(patches, CHOSEN).draw(2, rng=generator(1, "one"))
    assert low.shape[-1] == 114 // 2 - 16 and high.shape[-1] == 114 - 32  # of patches of 112, and rims


def test_another_photograph_has_the_same_history(tmp_path: Path) -> None:
    draw = PhotographDraw(photographs(tmp_path), CHOSEN)
    damage, low, high = draw.draw(2, rng=generator(1, "one"))
    again, shown = draw.another(replace(damage, noise=0.0, quality=None), 2, rng=generator(2, "another"))
    assert again.shape == low.shape and shown.shape == high.shape and not torch.equal(shown, high)
    whole = degrade(shown, damage.kernel, 2, border="reflect")
    inside = (..., slice(12, -12), slice(12, -12))
    assert float((whole - again)[inside].abs().max()) < 1 / 255
