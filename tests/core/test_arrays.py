"""An array's file is whole or not there, and has the bytes that NumPy writes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from srfoundry.core.arrays import write_array
from tests.full_disk import small_files


@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray])
def test_the_bytes_are_numpys(layout: Callable[[np.ndarray], np.ndarray], tmp_path: Path) -> None:
    array = layout(np.arange(24, dtype=np.float32).reshape(4, 6))
    np.save(tmp_path / "numpys.npy", array)
    write_array(tmp_path / "new" / "ours.npy", array)
    assert (tmp_path / "new" / "ours.npy").read_bytes() == (tmp_path / "numpys.npy").read_bytes()


def test_a_full_disk_leaves_no_array_that_is_cut_off(tmp_path: Path) -> None:
    """Nothing of a new one, and all of the former one; a kernel of 9 x 9 fits into one buffer."""
    path, kernel = tmp_path / "kernel.npy", np.full((9, 9), 1 / 81, np.float32)
    with small_files(200), pytest.raises(OSError):
        write_array(path, kernel)
    assert list(tmp_path.iterdir()) == []
    write_array(path, kernel)
    with small_files(200), pytest.raises(OSError):
        write_array(path, 2 * kernel)
    assert np.array_equal(np.load(path), kernel) and list(tmp_path.iterdir()) == [path]
