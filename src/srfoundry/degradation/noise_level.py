"""The noise of an image, from the image alone: as much as a restorer is to reckon with.

What enlarges whole photographs asks `imaging.damage.noise`, which takes texture off and rather says too little: of
small images behind a blur under noise of 2 of 255 nothing in every fourth, and half of a camera's.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from srfoundry.core.errors import FoundryError

ENOUGH = 4  # patches for each value in one
PATCH = 5  # pixels a side of the patches whose covariance is looked at
SILENT = 0.9 / 255  # less than this is texture and rounding
ROUNDING = 1 / 255 / math.sqrt(12)
PIXELS = 2**18  # of an image that are looked at: its middle, if it has more
# Pixels a side of the patches of which a few are flat, the share of these, and the part of white noise that they show
# at least: they are the ones with least of it. Of noise alone, from 120 to 512 pixels a side, that is 0.68 to 0.73.
FLAT, FLATTEST, SHOWN = 8, 0.02, 0.68
FEW = 32  # patches, of which fewer say nothing
CLIPPED = 0.5 / 255  # pixels as near black or white may have been cut off
# Share of the patches without such pixels below which all count: writing and line art on white paper have nothing flat
# but the paper, and of their edges alone noise of 14 to 34 of 255 was seen. Under noise no paper is one level.
UNCLIPPED = 0.05
# How much more the flattest tenth of many patches may show than the flattest fiftieth if what it shows is noise, in
# the dark half and in the bright one, and how many are many. Of 60 photographs (BSD400, x2) under luminance noise of 2
# and 5 of 255 behind a Gaussian 55 and 59 are as steady, 32 and 30 under a camera's; of 300 without noise (behind a
# Gaussian, three reductions, pixels left out) three that show 0.9 of 255.
TENTH, STEADY, MANY = 0.1, 1.25, 400
MIXED = torch.tensor([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]], dtype=torch.float64) / 6


def estimate_noise(image: Float[Tensor, "1 c h w"], *, patch: int = PATCH) -> float:
    """Standard deviation of white Gaussian noise, in the image's range.

    Two estimates, of which the lesser is right: what patches show outside of their subspace, and what the flattest show
    at all, in the noisiest colour. In grey images with fine textures patches fill the whole space: of sharp grey
    photographs without noise the first says 4 to 21 of 255 (40 of BSD400, x2, means of blocks and pixels left out;
    median 8 and 13), the second 0.6 to 12 (median 1 and 2). Where there is noise behind a blur it is no less.

    Of grain, noise of a colour photograph's luminance alone, its patches show nothing: colours have none. It is looked
    for by itself.

    Args:
        image: grey, in as many channels as may be, or in colour; its middle is looked at.
        patch: pixels a side of the patches that span a subspace; fewer in small images.

    Raises:
        FoundryError: the image has less than two patches of 2x2 pixels.
    """
    if bool((image == image[:, :1]).all()):
        image = image[:, :1]
    side = int(PIXELS**0.5)
    top, left = (max(0, (extent - side) // 2) for extent in image.shape[-2:])
    seen = image[..., top : top + side, left : left + side].double()
    each = [_patches(colour) for colour in seen.split(1, dim=1)]
    most = max((_in_flattest(patches) for patches in each if len(patches) >= FEW), default=math.inf)
    found = min(_outside_of_subspace(seen, patch), most)
    return found if len(each) == 1 else max(found, _grain(seen.mean(dim=1, keepdim=True), patch))


def _outside_of_subspace(image: Float[Tensor, "1 c h w"], patch: int) -> float:
    """Chen, Zhu and Heng, ICCV 2015.

    Patches of a photograph lie near a subspace; the eigenvalues of their covariance outside of it are the noise's
    variance. The largest eigenvalues are left out one by one until mean and median of the rest agree. Small images are
    looked at in smaller patches: there must be more of these than values in each.
    """
    height, width = image.shape[-2:]
    while patch > 2 and (height - patch + 1) * (width - patch + 1) < ENOUGH * image.shape[1] * patch**2:
        patch -= 1
    if min(height, width) < patch or height * width <= patch**2:
        raise FoundryError(
            f"noise is estimated from several patches of {patch}x{patch} pixels, got an image of {height}x{width}; "
            "give a larger one, or its noise"
        )
    patches = image.unfold(2, patch, 1).unfold(3, patch, 1).permute(2, 3, 0, 1, 4, 5).flatten(0, 2).flatten(1)
    values = torch.linalg.eigvalsh(torch.cov(patches.T)).clamp_min(0)  # smallest first
    for kept in range(len(values), 1, -1):
        rest = values[:kept]
        if rest.mean() <= rest.median():
            break
    else:
        rest = values[:1]
    return float(rest.mean().sqrt())


def _grain(luminance: Float[Tensor, "1 1 h w"], patch: int) -> float:
    """Noise of the luminance, where its flattest patches show it alike; 0 where they do not, or are few."""
    patches = _patches(luminance)
    if len(patches) < MANY:
        return 0.0
    if any(_least(half, TENTH) > STEADY * _least(half, FLATTEST) for half in patches.chunk(2)):
        return 0.0
    return min(_outside_of_subspace(luminance, patch), _in_flattest(patches))


def _patches(image: Float[Tensor, "1 1 h w"]) -> Float[Tensor, " n"]:
    """Power of each patch's mixed second differences, which are of a flat one its noise (Immerkaer 1996); dark first.

    Clipped pixels have less noise; patches with any are left out, unless nearly all have some.
    """
    if min(image.shape[-2:]) < FLAT + 2:
        return image.new_zeros(0)
    power = functional.avg_pool2d(functional.conv2d(image, MIXED.to(image)[None, None]).square(), FLAT, FLAT // 2)
    light = functional.avg_pool2d(image[..., 1:-1, 1:-1], FLAT, FLAT // 2)
    clipped = ((image < CLIPPED) | (image > 1 - CLIPPED)).to(image)
    whole = functional.max_pool2d(clipped, FLAT + 2, FLAT // 2) == 0
    if whole.float().mean() < UNCLIPPED:
        whole = torch.ones_like(whole)
    return power[whole][light[whole].argsort(stable=True)]


def _in_flattest(patches: Float[Tensor, " n"]) -> float:
    """Standard deviation of white noise, at most: the mean of the dark half's and the bright one's.

    A camera's noise grows with the light. Of grey photographs with such noise (its variance as the light, 5 of 255 at
    middle grey, behind a Gaussian) this says 0.77 to 1.05 times the mean, and both halves as one 0.44 to 1.01.
    """
    dark, bright = (_least(half, FLATTEST) for half in patches.chunk(2))
    return math.sqrt((dark**2 + bright**2) / 2)


def _least(patches: Float[Tensor, " n"], share: float) -> float:
    """Standard deviation of the noise that so many of the patches show no more of."""
    return float(patches.quantile(share).sqrt()) / SHOWN


def known_noise(low: Float[Tensor, "1 c h w"]) -> float:
    """Noise as restorers take it: rounding to 8 bits, which is always there, does not count."""
    found = estimate_noise(low)
    return 0.0 if found < SILENT else math.sqrt(found**2 - ROUNDING**2)
