"""The kernel estimators by name: what `estimate.method` in params.yaml may be.

A new one is a file with a record (`estimate.Estimator`) and a line of this table. Nothing is imported before it is
used, since the names alone are read with params.yaml.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from srfoundry.core.errors import FoundryError

if TYPE_CHECKING:
    import torch

    from srfoundry.blind.estimate import BlindObservation, Estimate, Estimator, Resources
    from srfoundry.blind.settings import Estimation
    from srfoundry.core.state import Log


def _fast() -> "Estimator":
    from srfoundry.blind.corrector.correction import FAST

    return FAST


def _free() -> "Estimator":
    from srfoundry.blind.motion_deblur.freeform import FREE

    return FREE


def _dkp() -> "Estimator":
    from srfoundry.blind.dkp.dkp import DKP

    return DKP


def _mlmc() -> "Estimator":
    from srfoundry.blind.dkp.mlmc import MLMC

    return MLMC


def _released() -> "Estimator":
    from srfoundry.blind.dkp.released import RELEASED

    return RELEASED


ESTIMATORS: dict[str, Callable[[], "Estimator"]] = {
    "fast": _fast,  # a corrector's corrections: Gaussians, trained
    "free": _free,  # any form, such as motion: few edges, then the trained restorer
    "dkp": _dkp,
    "mlmc": _mlmc,
    "released": _released,  # the program that DKP's authors published
}


def known(method: str) -> str:
    """The name itself.

    Raises:
        ValueError: it is not in the table.
    """
    if method not in ESTIMATORS:
        raise ValueError(f"must be one of {', '.join(ESTIMATORS)}, got {method!r}")
    return method


def find(method: str) -> "Estimator":
    """The estimator of a name.

    Raises:
        FoundryError: it is not in the table.
    """
    try:
        return ESTIMATORS[known(method)]()
    except ValueError as error:
        raise FoundryError(f"estimate.method {error}; choose one of these") from None


def estimate_kernel(
    observation: "BlindObservation",
    settings: "Estimation",
    resources: "Resources",
    *,
    rng: "torch.Generator",
    log: "Log | None" = None,
) -> "Estimate":
    """Estimate the kernel of an image, and with some methods the image, by the method that the settings name.

    Args:
        observation: the image.
        settings: section estimate of params.yaml.
        resources: networks of a trained method; the kernels of the family bank.
        rng: a CPU generator; the same state gives the same bytes.
        log: takes the row of each iteration.

    Raises:
        FoundryError: the method is unknown, the image too small, or something that the settings need is missing.
        Diverged: a loss is not finite.
    """
    from srfoundry.core.state import silent

    estimator, decimation = find(settings.method), observation.sampling.decimation
    if estimator.trained and (resources.networks is None or decimation != "direct"):
        raise FoundryError(
            f"estimate.method {settings.method} needs trained networks and direct decimation, got {decimation} "
            f"decimation{'' if resources.networks else ' and no networks'}; take dkp, or run 'dvc repro nonblind'"
        )
    return estimator.estimate(observation, settings, resources, rng=rng, log=log or silent)
