"""How well a zero-shot net restores whole photographs that it has not seen, adapted to each or not."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.core.compute import Compute
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.imaging import images, metrics
from srfoundry.imaging.patches import Patches
from srfoundry.zero_shot.adaptation import adapt
from srfoundry.zero_shot.recipe import Recipe
from srfoundry.zero_shot.restoration import restore

Kernel = Float[Tensor, "1 k k"]
Scores = dict[str, float]


def validate(
    net: nn.Module,
    patches: Patches,
    sampling: Sampling,
    *,
    compute: Compute,
    kernel: Kernel | None = None,
    assumed: Kernel | None = None,
    recipe: Recipe | None = None,
) -> Scores:
    """PSNR-Y in dB on whole photographs after adaptation to each, and its gain over MATLAB's bicubic.

    Args:
        sampling: how the photographs are reduced after the blur.
        compute: where, and the precision of the adaptation's convolutions.
        kernel: photographs are degraded with it, to 8 bits; None means the set's own bicubic reduction.
        assumed: what the network is given instead of `kernel`, as an estimate would be.
        recipe: of the adaptation; None restores without.
    """
    given = kernel if assumed is None or kernel is None else assumed

    def restored(name: str) -> tuple[Tensor, Tensor, Tensor]:
        high = patches.image(name)
        if kernel is None:
            low = patches.image(name, sampling.scale)
        else:
            low = images.from_uint8(images.to_uint8(sampling.degrade(high, kernel)))
        low, blur = low.to(compute.device), None if given is None else given.to(compute.device)
        observation = Observation(low, blur, sampling)
        found = adapt(net, observation, recipe or Recipe([]), precision=compute.precision)
        return restore(net, observation, weights=found.weights), low, high

    return metrics.gains(map(restored, patches.photographs()), sampling.scale)


def validate_steps(
    net: nn.Module,
    patches: Patches,
    sampling: Sampling,
    kernels: Mapping[str, Kernel],
    recipe: Recipe,
    *,
    compute: Compute,
) -> dict[str, dict[str, Scores]]:
    """`validate` for each kernel without adaptation, after one step and after all, as {kernel: {steps_N: scores}}."""
    counts = (0, 1, len(recipe.rates))
    return {
        name: {
            f"steps_{count}": validate(
                net, patches, sampling, compute=compute, kernel=kernel, recipe=recipe.with_steps(count)
            )
            for count in counts
        }
        for name, kernel in kernels.items()
    }
