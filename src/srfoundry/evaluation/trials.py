"""Every way to restore one test image, by the name that the result tables give it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.degradation.observation import Observation
from srfoundry.evaluation.result_tables import ALIGNED
from srfoundry.imaging import resize
from srfoundry.imaging.tensor_tiles import reach, tiled
from srfoundry.networks.zoo.family import BLIND, CLEAN, COMPARED, FAMILY, PHOTO
from srfoundry.zero_shot.adapted_restoration import adapt_and_restore
from srfoundry.zero_shot.recipe import Recipe

# MZSR's step size, for the pretrained net: learned ones belong to the net that they were learned with
FINE_TUNING = 0.01


def of_set(
    test: str, nets: Mapping[str, nn.Module], observations: Mapping[str, Observation], *, recipe: Recipe, tile: int
) -> Iterator[tuple[str, Float[Tensor, "1 3 H W"]]]:
    """Yield (name, restored image in [0, 1]) for MATLAB's bicubic and every method that is scored on a test set.

    Where every s-th pixel was kept, MATLAB's bicubic, which centres blocks, lies (s - 1) / 2 pixels beside the
    original; `aligned` is bicubic on the original's grid.

    Members for real photographs give images on the grid of MATLAB's bicubic, so they are scored on sets that lie there.

    Args:
        test: of the sets of `data.test_sets`; on blind ones a few members alone.
        nets, observations, recipe, tile: as `trials` takes them.
    """
    low, scale = observations["true"].low, observations["true"].scale
    yield "bicubic", resize.cubic(low, scale).clamp(0, 1)
    if observations["true"].kernel is not None and observations["true"].decimation == "direct":
        yield ALIGNED, resize.cubic_at(low, scale, 0.0).clamp(0, 1)
    if test in BLIND:
        yield from members(nets, low, scale, COMPARED, tile=tile)
        return
    yield from trials(nets, observations, recipe=recipe, tile=tile)
    yield from members(nets, low, scale, PHOTO if test == "bicubic" else (), tile=tile)


def trials(
    nets: Mapping[str, nn.Module], observations: Mapping[str, Observation], *, recipe: Recipe, tile: int
) -> Iterator[tuple[str, Float[Tensor, "1 3 H W"]]]:
    """Yield (name, restored image in [0, 1]) for every method that was made for bicubic input, or for one kernel.

    `mzsr10_true` is the meta-trained net after ten steps with the kernel of the observation called `true`,
    `mzsr0_true` the net itself given this kernel; `finetune10_true` are ten steps of the pretrained one.

    Args:
        nets: by the stage that made them, on the image's device.
        observations: one image with each kernel that adaptation is given, `true` among them.
        recipe: how the meta-trained net is adapted.
        tile: low-resolution pixels a side that are restored at once; adaptation sees what it sees in the program.
    """
    low, scale = observations["true"].low, observations["true"].scale
    count = len(recipe.rates)

    def zero_shot(net: nn.Module, observation: Observation, recipe: Recipe) -> Tensor:
        return adapt_and_restore(net, observation, recipe, tile=tile, device=low.device)[0]

    yield from members(nets, low, scale, CLEAN, tile=tile)
    bicubic = replace(observations["true"], kernel=None)
    yield "pretrain", zero_shot(nets["pretrain"], bicubic, recipe.with_steps(0))
    for name, observation in observations.items():
        for steps in dict.fromkeys((0, 1, count)):
            yield f"mzsr{steps}_{name}", zero_shot(nets["metatrain"], observation, recipe.with_steps(steps))
    fine_tuning = replace(recipe, rates=[FINE_TUNING] * count, descent="plain")
    yield f"finetune{count}_true", zero_shot(nets["pretrain"], observations["true"], fine_tuning)


def members(
    nets: Mapping[str, nn.Module], low: Float[Tensor, "1 3 h w"], scale: int, names: Iterable[str], *, tile: int
) -> Iterator[tuple[str, Float[Tensor, "1 3 H W"]]]:
    """Yield (name, restored image in [0, 1]) for members of the family.

    Args:
        nets: by the stage that made them, on the image's device.
        low: range [0, 1].
        scale: of the enlargement.
        names: of the members.
        tile: low-resolution pixels a side that are restored at once.
    """
    for name in names:
        yield name, _whole(nets[FAMILY[name]], low, scale, tile)


def _whole(net: nn.Module, low: Tensor, scale: int, tile: int) -> Tensor:
    overlap = min(max(2 * reach(net), 16), tile // 4)  # bands fade over half of it
    with torch.inference_mode():
        return tiled(lambda part: net(part).clamp(0, 1), low, scale, tile=tile, overlap=overlap)
