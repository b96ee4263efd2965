"""Kernels corrected by what a wrong one does to the restored image: symmetries, training, and what it comes to."""

from pathlib import Path

import pytest
import torch

from srfoundry.blind.corrector.correction import CorrectionSearch, estimate_kernel_by_corrections
from srfoundry.blind.corrector.samples import Samples, collect_samples
from srfoundry.blind.corrector.training import train_corrector
from srfoundry.blind.dkp.families import GaussianPrior
from srfoundry.blind.nonblind_pairs import PairDraw, SharpPatches
from srfoundry.blind.nonblind_settings import CorrectorDescent
from srfoundry.core.compute import Compute
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import Stream, generator
from srfoundry.core.state import Log, Resumption
from srfoundry.degradation.observation import Sampling
from srfoundry.degradation.operator import degrade
from srfoundry.imaging.images import from_uint8, to_uint8
from srfoundry.imaging.metrics import kernel_psnr
from srfoundry.imaging.patches import Patches
from srfoundry.networks.nonblind.corrector import Corrector
from srfoundry.networks.nonblind.usrnet import USRNet
from srfoundry.training.settings import PatchDraw
from tests.blind_cases import power_law
from tests.closed import CPU, photographs, prepared
from tests.nonblind import tiny_usrnet

SEARCH = CorrectionSearch(kernel_size=11, variances=(0.3, 2.5), passes=4, look=64)


def restorer() -> USRNet:
    return tiny_usrnet(alphas=(3e-3, 3e-3)).eval()


def collected(
    patches: Patches, folder: Path, *, samples: int = 16, patch: int = 16, stop: int | None = None
) -> Samples:
    return collect_samples(
        restorer(),
        PairDraw(SharpPatches(patches, PatchDraw(patch=patch, octave=0.0, batch=8)), noise=0.04, softness=0.5),
        samples=samples,
        scales=(2,),
        variances=SEARCH.variances,
        compute=Compute(CPU),
        stream=Stream(1, "nonblind"),
        resumption=Resumption(folder / "samples.pt", "k", stopping(stop)),
    )


def trained(found: Samples, folder: Path, *, steps: int, stop: int | None = None) -> Corrector:
    net = Corrector(width=64)
    kept = Resumption(folder / "corrector.pt", "k", stopping(stop))
    train_corrector(net, found, CorrectorDescent(steps=steps, rate=2e-3), stream=Stream(1, "nonblind"), resumption=kept)
    return net


def stopping(at: int | None) -> Log:
    """A log that ends the work, as a kill would, before the state of this step is saved."""

    def log(step: int, _values: dict[str, float]) -> None:
        if step == at:
            raise KeyboardInterrupt

    return log


def test_it_finds_kernels_of_images_that_it_never_saw(tmp_path: Path) -> None:
    true = GaussianPrior(11, 0.6, 5.0)
    shapes = true.sample(4, rng=generator(3, "true"))
    found = collected(random_photographs(tmp_path), tmp_path, samples=800, patch=64)
    net = trained(found, tmp_path, steps=400).eval()
    gains = []
    for number, kernel in enumerate(true.kernels(shapes).float()):
        low = degrade(power_law(144, 50 + number), kernel[None], 2, border="circular")
        low = from_uint8(to_uint8(low.clamp(0, 1)))
        estimate = estimate_kernel_by_corrections(low, Sampling(2), SEARCH, restorer=restorer(), corrector=net)
        guess = SEARCH.prior(2).mean().float()
        gains.append(kernel_psnr(estimate.kernel, kernel[None]) - kernel_psnr(guess, kernel[None]))
        assert float(estimate.kernel.min()) >= 0 and float(estimate.kernel.sum()) == pytest.approx(1, abs=1e-5)
        assert len(estimate.history) == SEARCH.passes
    assert sum(gains) / len(gains) > 5


def random_photographs(folder: Path) -> Patches:
    """Images with the spectrum of photographs."""
    return prepared(folder, {f"image{seed}": power_law(144, seed).clamp(0, 1) for seed in range(8)}, [1, 2])


def test_samples_and_training_resume_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srfoundry.training.loop.SAVE_SECONDS", 0.0)
    patches = photographs(tmp_path)
    whole = collected(patches, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        collected(patches, tmp_path / "cut", stop=2)
    resumed = collected(patches, tmp_path / "cut")
    assert all(torch.equal(a, b) for a, b in zip(whole.all(), resumed.all(), strict=True))
    first = trained(whole, tmp_path / "whole", steps=6)
    with pytest.raises(KeyboardInterrupt):
        trained(whole, tmp_path / "cut", steps=6, stop=3)
    second = trained(whole, tmp_path / "cut", steps=6)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_too_small_an_image_is_refused() -> None:
    with pytest.raises(FoundryError, match="too small"):
        low = torch.rand(1, 3, 6, 40, generator=generator(1, "low"))
        estimate_kernel_by_corrections(low, Sampling(2), SEARCH, restorer=restorer(), corrector=Corrector())
