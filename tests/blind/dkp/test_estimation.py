"""One image's estimation: what is refused, and kernels and images that are recentred."""

import pytest
import torch
from pydantic import ValidationError

from srfoundry.blind.dkp.estimation import recentred
from srfoundry.degradation.conventions import centre_of_mass
from srfoundry.degradation.kernels import gaussian
from srfoundry.degradation.operator import degrade
from tests.blind_cases import tiny


def test_what_needs_an_image_is_refused_without_one() -> None:
    for change in ({"stop": "variance"}, {"likelihood": "residual"}, {"learned": True}):
        with pytest.raises(ValidationError, match="needs an image"):
            tiny(**change, image_steps=0)


def test_recentred_kernels_and_images_explain_as_before() -> None:
    """Both move together: the image blurred and decimated stays what it was."""
    axis = torch.linspace(0, 6.3, 64)
    image = 0.5 + 0.3 * torch.stack([axis.sin()[:, None] * axis.cos()] * 3)[None]
    off = gaussian(11, *(torch.tensor([value]) for value in (2.0, 2.0, 0.0)), offset=0.7)
    centred, moved = recentred(off, image)
    assert moved is not None and float((centre_of_mass(centred) - 5).abs().max()) < 0.02
    before, after = degrade(image, off, 2), degrade(moved, centred, 2)
    assert float((before - after)[..., 4:-4, 4:-4].abs().max()) < 2e-3
    assert float((degrade(image, centred, 2) - before)[..., 4:-4, 4:-4].abs().max()) > 2e-2
