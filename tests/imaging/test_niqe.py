"""NIQE is the published measure, and orders images as people would."""

from pathlib import Path

import pytest
import torch

from srfoundry.core.seeds import generator
from srfoundry.imaging import images, niqe, resize
from tests.conftest import golden

BUNDLED = {path.stem: path for path in images.bundled()}
REFERENCE = {  # by BasicSR 1.4.2's functions in double precision, with exact zeros where an image is flat
    "astronaut": 3.065579,
    "chelsea": 2.625527,
    "coffee": 4.115247,
    "flower": 4.893330,
    "page": 8.890816,
    "rocket": 6.969173,
}


def score(image: torch.Tensor) -> float:
    found = niqe.niqe(image)
    assert found is not None
    return found


@pytest.mark.parametrize("name", REFERENCE)
def test_niqe_equals_another_implementation(name: str) -> None:
    assert score(images.read(BUNDLED[name])) == pytest.approx(REFERENCE[name], abs=2e-5)


def test_niqe_equals_matlab() -> None:
    """5.72957338 is what the authors' program gives in MATLAB R2021a, as BasicSR says."""
    assert score(images.read(golden("test/Set14") / "baboon.png")) == pytest.approx(5.72957338, abs=1e-5)


def test_damage_looks_worse() -> None:
    high = images.read(BUNDLED["astronaut"])
    blurred = resize.cubic(resize.cubic(high, 1 / 3), 3)[..., :512, :512]
    noisy = high + 0.1 * torch.randn(high.shape, generator=generator(1, "niqe"))
    whole = score(high)
    assert score(blurred) > whole + 2
    assert score(noisy) > whole + 2
    assert score(images.jpeg(high, 15)) > whole + 0.5


def test_border_is_cropped() -> None:
    high = images.read(BUNDLED["chelsea"])
    framed = torch.nn.functional.pad(high, (2, 2, 2, 2))
    assert niqe.niqe(framed, border=2) == niqe.niqe(high)


def test_images_without_statistics_have_no_score() -> None:
    assert niqe.niqe(torch.rand(1, 3, 96, 191, generator=generator(0, "small"))) is None
    assert niqe.niqe(torch.full((1, 3, 200, 200), 0.5)) is None
    assert niqe.niqe(torch.rand(1, 3, 96, 192, generator=generator(0, "small"))) is not None


def test_licence_lies_beside_the_parameters() -> None:
    folder = Path(niqe.__file__).parent
    assert "The University of Texas at Austin" in (folder / "niqe_licence.txt").read_text()
    assert (folder / "niqe_pristine.npz").is_file()
