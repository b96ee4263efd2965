"""Images of every class, restored as a user restores them: by the product, which is given the file's pixels alone.

`true` is the restorer with the true kernel, `auto` the product with the values of params.yaml, `known` the same with
the decimation said; any other method is one of estimate.method, by force.
METHOD_FAMILY chooses the family of a prior, which is more than a user knows.
"""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from ruamel.yaml import YAML
from torch import Tensor

from benchmarks._blind_cases import Case
from benchmarks._blind_classes import Degraded
from benchmarks._blind_scores import Score
from srfoundry.config import yaml_files
from srfoundry.core.errors import FoundryError
from srfoundry.degradation import conventions, operator
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.imaging import images
from srfoundry.imaging.user_image import Photograph
from srfoundry.restoration.blind_restoration import Outcome, Restoration, restore_photograph
from srfoundry.restoration.restorers import usrnet
from srfoundry.restoration.restorers.restorer import RestoreOptions

FAMILIES = ("line", "disc", "trajectory")  # of priors that METHOD_FAMILY may name
MOTION = Path("params/motion.yaml")  # values for them


@dataclass
class Products:
    """Restorations by method and scale, loaded when they are first asked for.

    Attributes:
        model: of `restore`.
        folder: of the networks that estimate kernels.
        params: params.yaml.
        work: where its variants of other families are written.
    """

    model: Path
    folder: Path
    params: Path
    work: Path
    loaded: dict[tuple[str, int, str], Restoration] = field(default_factory=dict)

    def get(self, method: str, scale: int, decimation: operator.Decimation | None = None) -> Restoration:
        """The restoration of a method; one that `auto` would decline is forced upon the others."""
        key = method, scale, decimation or ""
        if key not in self.loaded:
            product = method in ("auto", "known")
            name, _, family = method.partition("_")
            options = RestoreOptions(
                self.model,
                self._with_family(family) if family else self.params,
                method=None if product or method == "true" else name,
                scale=scale,
                force=not product,
                decimation=decimation,
            )
            self.loaded[key] = Restoration.load(options, models=self.folder)
        return self.loaded[key]

    @property
    def conditioned(self) -> bool:
        """Whether the model is a USRNet."""
        return usrnet.fits(self.model)

    def fits(self, method: str, case: Degraded | Case) -> bool:
        """Whether there is a blur to know, or a decimation."""
        if method == "known":
            return isinstance(case, Degraded)
        return method != "true" or case.kernel is not None

    def score(self, method: str, case: Degraded | Case, *, packed: bool = False) -> Score:
        """Restore an image and compare.

        Args:
            method: how.
            case: the image.
            packed: it was a JPEG file, whose errors `true` takes for noise.
        """
        shared = self.get(method, case.scale, _decimation(case) if method == "known" else None)
        began = time.perf_counter()
        if method == "true":
            image, said = _true(shared, case, _error(case) if packed else case.noise), ""
        else:
            outcome = self.outcome(shared, case)
            image = images.from_uint8(torch.from_numpy(np.asarray(outcome.pixels))[None])
            image, said = _replaced(image, outcome, shared, case), _words(outcome)
        taken = time.perf_counter() - began
        return Score(case.psnr_y(image), case.psnr_y(case.aligned()), taken, said=said)

    def outcome(self, shared: Restoration, case: Degraded | Case) -> Outcome:
        """What the product makes of it; of periodic images, as in FKP's test, it knows that."""
        if isinstance(case, Case):
            sampling = replace(shared.sampling, border="circular")
            assert shared.estimation is not None
            shared = replace(shared, sampling=sampling, estimation=replace(shared.estimation, sampling=sampling))
        pixels = images.to_uint8(case.low)[0].cpu().numpy()
        return restore_photograph(Photograph(pixels, None, False, {}), case.name, shared)

    def _with_family(self, family: str) -> Path:
        """params.yaml with the values of MOTION and another family in its section estimate."""
        if family not in FAMILIES:
            raise FoundryError(f"no family {family} of priors; take one of {', '.join(FAMILIES)}")
        values = yaml_files.laid_over(yaml_files.read(self.params), yaml_files.read(MOTION))
        values["estimate"]["family"] = family
        file = self.work / f"params_{family}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        YAML().dump(values, file)
        return file


def _decimation(case: Degraded | Case) -> operator.Decimation:
    return case.decimation if isinstance(case, Degraded) else "direct"


def _error(case: Degraded | Case) -> float:
    """Standard deviation of what is no blur of the original, away from the rim."""
    assert case.kernel is not None
    made = operator.degrade(case.high, case.kernel, case.scale, decimation=_decimation(case))
    rim = -(-case.kernel.shape[-1] // case.scale)
    return float((made - case.low)[..., rim:-rim, rim:-rim].std())


def _true(shared: Restoration, case: Degraded | Case, noise: float) -> Tensor:
    assert case.kernel is not None
    sampling = Sampling(case.scale, _decimation(case), "circular" if isinstance(case, Case) else "reflect")
    seen = Observation(case.low, case.kernel, sampling, noise if shared.restorer.uses_noise else 0.0)
    return shared.restorer.restore(seen, case.name).image


def _replaced(image: Tensor, outcome: Outcome, shared: Restoration, case: Degraded | Case) -> Tensor:
    """Where FKP's test has kernels beside the middle tap, which no image shows: with the kernel there."""
    if not isinstance(case, Case) or not case.phase:
        return image
    if outcome.explained is None:
        return case.aligned()
    seen = outcome.explained.observation
    assert seen.kernel is not None
    middle = (seen.kernel.shape[-1] - 1) / 2 + conventions.get("dkp").phase(case.scale)
    kernel = conventions.move(seen.kernel, middle - conventions.centre_of_mass(seen.kernel))
    return shared.restorer.restore(replace(seen, kernel=kernel), case.name).image


def _words(outcome: Outcome) -> str:
    """What it said of the image, in short."""
    if outcome.decision is not None:
        return f"{'' if outcome.decision.restore else 'enlarged: '}{outcome.decision.line()}"
    return "" if outcome.doubt is None else f"enlarged: {outcome.doubt.why}"
