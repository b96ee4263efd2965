"""Kernels follow MZSR's formula, sum to 1, and what is none is refused."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import golden

from srfoundry import kernels
from srfoundry.errors import FoundryError
from srfoundry.seeds import generator


def one(size: int, first: float, second: float, theta: float) -> torch.Tensor:
    values = (torch.tensor([value], dtype=torch.float64) for value in (first, second, theta))
    return kernels.gaussian(size, *values)


def test_formula_equals_the_reference() -> None:
    stored = np.load(golden("golden/reference/mzsr_kernels.npz"))
    for index, (size, theta, first, second) in enumerate(stored["specs"]):
        made = one(int(size), first, second, theta)[0].numpy()
        assert np.abs(made - stored[f"k{index}"]).max() < 1e-12


def test_published_centres() -> None:
    assert float(one(15, 2, 2, 0)[0, 7, 7]) == pytest.approx(0.0795774818, abs=1e-10)
    assert float(one(15, 4, 1, -0.5)[0, 7, 7]) == pytest.approx(0.0795798634, abs=1e-10)


def test_moments_are_the_given_variances() -> None:
    kernel = one(31, 4.0, 1.5, 0.0)[0]
    axis = torch.arange(31, dtype=torch.float64) - 15
    assert float((kernel.sum(0) * axis**2).sum()) == pytest.approx(4.0, abs=1e-3)  # first axis: columns
    assert float((kernel.sum(1) * axis**2).sum()) == pytest.approx(1.5, abs=1e-3)


def test_samples_are_of_the_distribution() -> None:
    bank, drawn = kernels.sample(500, size=15, low=1.0, high=5.0, rng=generator(1, "test"))
    theta, first, second = drawn.unbind(1)
    assert bool(((theta >= 0) & (theta < math.pi) & (first <= 5) & (second >= 1) & (second <= first)).all())
    assert float((bank.sum((1, 2)) - 1).abs().max()) < 1e-5 and float(bank.min()) >= 0
    assert float(first.mean()) == pytest.approx(3.0, abs=0.2)
    again, _ = kernels.sample(500, size=15, low=1.0, high=5.0, rng=generator(1, "test"))
    assert bank.equal(again)


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        (torch.full((4, 4), 1 / 16), "odd"),
        (torch.full((3, 5), 1 / 15), "square"),
        (torch.full((3, 3), 0.1), "sum to 1, got 0.9"),
        (torch.full((3, 3), torch.nan), "NaN"),
    ],
)
def test_what_is_no_kernel_is_refused(kernel: torch.Tensor, said: str) -> None:
    with pytest.raises(FoundryError, match=said):
        kernels.check(kernel)


def test_kernels_are_read_from_files_and_never_unpickled(tmp_path: Path) -> None:
    kernel = one(5, 2, 1, 0.3)[0].numpy()
    np.save(tmp_path / "a.npy", kernel)
    np.savez(tmp_path / "a.npz", kernel=kernel)
    for name in ("a.npy", "a.npz"):
        assert np.allclose(kernels.read(tmp_path / name)[0].numpy(), kernel)
    np.save(tmp_path / "object.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "text.npy").write_text("no kernel")
    np.save(tmp_path / "three.npy", np.zeros((2, 3, 3)))
    for name in ("object.npy", "text.npy", "three.npy", "none.npy"):
        with pytest.raises(FoundryError, match=name):
            kernels.read(tmp_path / name)
