"""The methods of kernel estimation by name: what `estimate.method` in params.yaml may be."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.corrector.correction import CorrectionSearch, estimate_kernel_by_corrections
from srfoundry.blind.dkp import dkp, kernel_network, mlmc, released
from srfoundry.blind.dkp.kernel_network import Estimate, Log
from srfoundry.blind.motion_deblur import freeform
from srfoundry.blind.nonblind_restoration import trained_size
from srfoundry.core.compute import channels_last
from srfoundry.core.errors import FoundryError
from srfoundry.degradation.conventions import Border
from srfoundry.degradation.noise_level import known_noise
from srfoundry.degradation.observation import Sampling
from srfoundry.degradation.operator import Decimation
from srfoundry.networks.nonblind.corrector import Corrector
from srfoundry.networks.nonblind.usrnet import USRNet
from srfoundry.networks.zoo import cards

METHODS = ("fast", "free", "dkp", "mlmc", "released")
TRAINED = ("fast", "free")  # methods that take the trained networks


@dataclass(frozen=True)
class Nets:
    """The trained networks of the methods fast and free (the restorer alone)."""

    restorer: USRNet
    corrector: Corrector


def nets(models: Path, scale: int, device: torch.device) -> Nets:
    """Load them from the folder that the stage nonblind writes.

    Raises:
        FoundryError: a file is missing, damaged, or of another scale.
    """
    found = []
    for name, kind in (("nonblind", USRNet), ("corrector", Corrector)):
        path = models / f"{name}.safetensors"
        if not path.exists():
            raise FoundryError(
                f"{path} not found, which estimate.method fast and free need; run 'dvc repro nonblind', or take dkp, "
                "which needs none"
            )
        net, card = cards.load(path)
        if not isinstance(net, kind):
            raise FoundryError(
                f"{path} must hold a {kind.__name__}, got {type(net).__name__}; run 'dvc repro nonblind'"
            )
        if scale not in card.metrics.get("scales", [card.scale]):
            raise FoundryError(
                f"{path} was trained for x{card.scale}, got an image to enlarge by {scale}; set shared.scale and run "
                "'dvc repro nonblind', or choose another estimate.method"
            )
        found.append(channels_last(net, device))
    return Nets(*found)


def estimate(
    low: Float[Tensor, "1 3 h w"],
    *,
    section: Mapping[str, Any],
    scale: int,
    rng: torch.Generator,
    decimation: Decimation = "direct",
    border: Border = "reflect",
    log: Log = lambda step, values: None,
    bank: Float[Tensor, "n k k"] | None = None,
    trained: Nets | None = None,
    noise: float | None = None,
    precision: str = "auto",
) -> Estimate:
    """Estimate kernel and image by the method and with the values of a section `estimate` of params.yaml.

    Args:
        section: method, and the fields of `engine.Settings`; others are passed over.
        bank: kernels that the family bank draws from.
        trained: the networks of `TRAINED` methods, on the image's device. precision: of their convolutions.
        noise: standard deviation for these, range [0, 1]; estimated from the image if neither this nor the section
            (there 0 means unknown) gives it.

    Raises:
        FoundryError: the method is unknown, the image too small, or the values ask for what is not there.
        Diverged: a loss is not finite.
    """
    method = section["method"]
    noise = section["noise"] or None if noise is None else noise
    common: dict[str, Any] = {"scale": scale, "rng": rng, "decimation": decimation, "border": border, "log": log}
    if method in TRAINED and (trained is None or decimation != "direct"):
        raise FoundryError(
            f"estimate.method {method} needs trained networks and direct decimation, got {decimation} decimation"
            f"{'' if trained else ' and no networks'}; take dkp, or run 'dvc repro nonblind'"
        )
    if method == "free":
        assert trained is not None
        return _free(low, section, scale, rng, border, trained.restorer, noise, log)
    if method == "fast":
        assert trained is not None
        return estimate_kernel_by_corrections(
            low,
            Sampling(scale, border=border),
            CorrectionSearch(size_of(section, scale), tuple(section["variances"]), section["passes"], section["look"]),
            restorer=trained.restorer,
            corrector=trained.corrector,
            noise=noise,
            precision=precision,
            log=log,
        )
    if method == "dkp":
        return dkp.estimate(low, settings=kernel_network.settings(section), bank=bank, **common)
    if method == "mlmc":
        return mlmc.estimate(low, settings=kernel_network.settings(section), bank=bank, **common)
    if method == "released":
        return released.estimate(low, settings=released.Settings(convention="mzsr", window=section["look"]), **common)
    raise FoundryError(f"estimate.method {method!r} is unknown; choose one of {', '.join(METHODS)}")


def iterations(section: Mapping[str, Any]) -> int:
    """Outer iterations of a section's method: how often it logs."""
    if section["method"] == "released":
        return released.Settings().outer
    if section["method"] == "free":
        return len(freeform.Settings().edges)
    return int(section["passes" if section["method"] == "fast" else "iterations"])


def size_of(section: Mapping[str, Any], scale: int, bank: Float[Tensor, "n k k"] | None = None) -> int:
    """Taps a side of the kernels that a section's method finds."""
    if section["method"] in TRAINED:
        return max(section["kernel_size"], trained_size(scale))  # those that the networks were taught with
    return (
        released.size_of(scale)
        if section["method"] == "released"
        else kernel_network.settings(section).prior(scale, bank).size
    )


def _free(
    low: Tensor,
    section: Mapping[str, Any],
    scale: int,
    rng: torch.Generator,
    border: Border,
    restorer: USRNet,
    noise: float | None,
    log: Log,
) -> Estimate:
    """A kernel of any form, on the busiest window."""
    box = kernel_network.busiest(low, section["look"])
    seen = low[..., box[0] : box[0] + box[2], box[1] : box[1] + box[3]]
    whole = border == "circular" and seen.shape == low.shape
    history: list[dict[str, float]] = []

    def hear(step: int, values: Mapping[str, float]) -> None:
        history.append({"step": float(step + 1), **values})
        log(step + 1, dict(values))

    with torch.inference_mode():
        kernel = freeform.estimate(
            seen.float(),
            scale=scale,
            size=size_of(section, scale),
            noise=known_noise(low) if noise is None else noise,
            rng=rng,
            border="circular" if whole else "reflect",
            restore=restorer,
            log=hear,
        )
    return Estimate(kernel.clone(), None, box, history)
