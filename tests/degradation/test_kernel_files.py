"""Kernels come from a user's files whatever program wrote them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from srfoundry.core.errors import FoundryError
from srfoundry.degradation import conventions, kernel_files, kernels


def one(size: int = 5) -> torch.Tensor:
    values = (torch.tensor([value], dtype=torch.float64) for value in (2.0, 1.0, 0.3))
    return kernels.gaussian(size, *values)[0].float()


def save(path: Path, kernel: np.ndarray) -> None:
    if path.suffix == ".npy":
        np.save(path, kernel)
    elif path.suffix == ".npz":
        np.savez(path, kernel=kernel)
    elif path.suffix == ".mat":
        savemat(path, {"Kernel": kernel})
    else:
        Image.fromarray((kernel / kernel.max() * 255).round().astype(np.uint8)).save(path)


@pytest.mark.parametrize("suffix", kernel_files.SUFFIXES)
def test_every_kind_of_file_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    save(path, one().numpy())
    read = kernel_files.read(path)
    assert read.shape == (1, 5, 5) and read.dtype == torch.float32
    assert float((read[0] - one()).abs().max()) < (2e-3 if suffix == ".png" else 1e-7)


def test_a_cell_array_and_stacks_are_several_kernels(tmp_path: Path) -> None:
    cells = np.empty((1, 3), dtype=object)
    for index, size in enumerate((5, 7, 9)):
        cells[0, index] = one(size).numpy()
    savemat(tmp_path / "cells.mat", {"kernels": cells})
    np.save(tmp_path / "stack.npy", np.stack([one().numpy()] * 3))
    savemat(tmp_path / "stack.mat", {"k": np.stack([one().numpy()] * 3, axis=-1)})
    assert [len(kernel) for kernel in kernel_files.read_all(tmp_path / "cells.mat").values()] == [5, 7, 9]
    for name in ("stack.npy", "stack.mat"):
        found = kernel_files.read_all(tmp_path / name)
        assert len(found) == 3 and all(kernel.equal(one()) for kernel in found.values())
    with pytest.raises(FoundryError, match="holds 3 kernels"):
        kernel_files.read(tmp_path / "stack.npy")


def test_even_and_flipped_kernels_give_the_same_image_as_in_their_own_convention(tmp_path: Path) -> None:
    even = kernels.normalise(torch.rand(6, 6, generator=torch.Generator().manual_seed(1)))
    np.save(tmp_path / "even.npy", even.numpy())
    for name in ("mzsr", "usrnet"):
        assert kernel_files.read(tmp_path / "even.npy", name)[0].equal(conventions.correlation(even, name))


def damaged(path: Path) -> None:
    save(path, one(15).numpy())
    path.write_bytes(path.read_bytes()[:-150])


@pytest.mark.parametrize("suffix", kernel_files.SUFFIXES)
def test_what_is_no_kernel_is_named(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"text{suffix}").write_text("no kernel at all, but a line of text")
    damaged(tmp_path / f"damaged{suffix}")
    for name in ("text", "damaged", "none"):
        with pytest.raises(FoundryError, match=name):
            kernel_files.read(tmp_path / f"{name}{suffix}")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".png"])
def test_damaged_bytes_are_read_or_named(tmp_path: Path, suffix: str) -> None:
    save(tmp_path / f"good{suffix}", one(15).numpy())
    whole = bytearray((tmp_path / f"good{suffix}").read_bytes())
    places = torch.randint(len(whole), (300,), generator=torch.Generator().manual_seed(1)).tolist()
    for place in [*range(min(len(whole), 150)), *places]:
        spoiled = whole.copy()
        spoiled[place] ^= 0x55
        (tmp_path / f"bad{suffix}").write_bytes(spoiled)
        try:
            kernel_files.read(tmp_path / f"bad{suffix}")
        except FoundryError as error:
            assert f"bad{suffix}" in str(error) and "\n" not in str(error)


def test_a_crash_of_matlabs_reader_is_named(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"k": one(15).numpy()})
    whole = bytearray((tmp_path / "a.mat").read_bytes())
    for place in (131, 150, 170, 185):
        spoiled = whole.copy()
        spoiled[place] ^= 0xFF
        (tmp_path / "bad.mat").write_bytes(spoiled)
        try:
            kernel_files.read(tmp_path / "bad.mat")
        except FoundryError as error:
            assert "bad.mat" in str(error)


def test_a_single_tap_is_a_kernel(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((1, 1)))
    assert kernel_files.read(tmp_path / "a.npy").shape == (1, 1, 1)


def test_nothing_is_unpickled_and_misfits_are_said(tmp_path: Path) -> None:
    np.save(tmp_path / "object.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "flat.npy", np.zeros(9))
    np.save(tmp_path / "wide.npy", np.full((3, 5), 1 / 15))
    np.save(tmp_path / "heavy.npy", np.ones((3, 3)))
    Image.new("L", (5, 5)).save(tmp_path / "black.png")
    (tmp_path / "kernel.txt").write_text("1")
    said = {"object.npy": "pickle", "flat.npy": "two dim", "wide.npy": "square", "heavy.npy": "sum to 1, got 9"}
    for name, why in (said | {"black.png": "black", "kernel.txt": "use .npy"}).items():
        with pytest.raises(FoundryError, match=why):
            kernel_files.read(tmp_path / name)


def test_arrays_are_weighed_before_they_are_loaded(tmp_path: Path) -> None:
    head = str({"descr": "<f4", "fortran_order": False, "shape": (2**18, 2**18)}).ljust(117).encode() + b"\n"
    (tmp_path / "huge.npy").write_bytes(b"\x93NUMPY\x01\0v\0" + head)
    np.savez_compressed(tmp_path / "bomb.npz", *[np.zeros((3000, 3000), np.float64)] * 4)
    (tmp_path / "deep.npy").write_bytes(b"\x93NUMPY\x01\0v\0" + b"(" * 117 + b"\n")
    Image.new("L", (1100, 1100), 9).save(tmp_path / "large.png")
    for name, said in (("huge.npy", "take 274,877"), ("bomb.npz", "take 288,000"), ("large.png", "claims 1100x1100")):
        with pytest.raises(FoundryError, match=said):
            kernel_files.read(tmp_path / name)
    with pytest.raises(FoundryError, match=r"deep.npy is no kernel"):
        kernel_files.read(tmp_path / "deep.npy")


def test_a_matlab_file_that_unpacks_to_far_more_than_its_size_is_named(tmp_path: Path) -> None:
    savemat(tmp_path / "bomb.mat", {"k": np.zeros((9_000, 9_000), np.uint8)}, do_compression=True)
    assert (tmp_path / "bomb.mat").stat().st_size < 10**6
    with pytest.raises(FoundryError, match=r"bomb.mat is no kernel that can be read .*are the most"):
        kernel_files.read(tmp_path / "bomb.mat")


def test_numbers_that_float32_has_no_room_for_are_no_kernel(tmp_path: Path) -> None:
    np.save(tmp_path / "large.npy", np.full((3, 3), 1e300))
    with pytest.raises(FoundryError, match="holds NaN or infinity"):
        kernel_files.read(tmp_path / "large.npy")
