"""Small non-blind networks and correctors for the tests of blind restoration."""

from pathlib import Path

from srfoundry.blind.corrector.samples import Samples, collect_samples
from srfoundry.blind.corrector.training import train_corrector
from srfoundry.blind.nonblind_pairs import PairDraw, SharpPatches
from srfoundry.blind.nonblind_settings import CorrectorDescent
from srfoundry.core.compute import Compute
from srfoundry.core.seeds import Stream, generator, redraw
from srfoundry.core.state import Log, Resumption
from srfoundry.imaging.patches import Patches
from srfoundry.networks.nonblind.corrector import Corrector
from srfoundry.networks.nonblind.usrnet import USRNet, start_plain
from srfoundry.training.settings import PatchDraw
from tests.closed import CPU

ARCH = {"widths": [4] * 4, "blocks": 1, "iterations": 2, "residual": True}


def tiny_usrnet(**start: tuple[float, float]) -> USRNet:
    """Data steps alone: it restores, if roughly, without having been trained; `start` goes to `start_plain`."""
    net = USRNet(**ARCH)
    redraw(net, generator(1, "tiny"))
    start_plain(net, **start)
    return net


def data_steps() -> USRNet:
    """A restorer of data steps alone, for the corrector."""
    return tiny_usrnet(alphas=(3e-3, 3e-3)).eval()


def collected_samples(
    patches: Patches, folder: Path, *, samples: int = 16, patch: int = 16, stop: int | None = None
) -> Samples:
    return collect_samples(
        data_steps(),
        PairDraw(SharpPatches(patches, PatchDraw(patch=patch, octave=0.0, batch=8)), noise=0.04, softness=0.5),
        samples=samples,
        scales=(2,),
        variances=(0.3, 2.5),
        compute=Compute(CPU),
        stream=Stream(1, "nonblind"),
        resumption=Resumption(folder / "samples.pt", "k", stopping(stop)),
    )


def trained_corrector(found: Samples, folder: Path, *, steps: int, stop: int | None = None) -> Corrector:
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
