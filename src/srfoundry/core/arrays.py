"""Arrays in files of NumPy's kind."""

from io import BytesIO
from pathlib import Path

import numpy as np

from srfoundry.core.atomic import write_bytes


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array as .npy, whole or not at all.

    Args:
        path: of any ending; need not be there yet, nor its folder.
        array: of numbers.

    Raises:
        OSError: the disk is full. `np.save` into a file says nothing where the last buffer finds no room.
    """
    file = BytesIO()
    np.save(file, array, allow_pickle=False)
    write_bytes(path, file.getvalue())
