"""What the system refuses is said in one sentence, however a library wraps it."""

import errno
import os

import pytest

from srfoundry.core.errors import FoundryError, refusal


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "models/a.pt"), "models/a.pt: the disk is full"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), b"results"), "results: the file system cannot be written to"),
        (PermissionError(errno.EACCES, "Permission denied"), "permission denied"),
        (OSError(errno.EFBIG, "File too large"), "ulimit -f"),
        (OSError("2025 requested and 119 written"), "the disk is full, or files may not be so large"),
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "ulimit -u"),
        (RuntimeError("can't start new thread"), "ulimit -u"),
        (OSError(errno.EBUSY, "Device or resource busy", "exports"), "exports: it is in use"),
        (MemoryError(), "not enough memory"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
            "not enough memory",
        ),
        (RuntimeError("could not create a primitive"), "not enough memory"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "not enough memory"),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), "the disk is full"),
    ],
)
def test_a_refusal_is_named_with_what_to_do(error: Exception, said: str) -> None:
    found = refusal(error)
    assert found is not None and said in found and "; " in found and "\n" not in found


def test_the_cause_of_an_error_is_looked_at() -> None:
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device", "a.png")
        except OSError as error:
            raise ValueError("encoder failed") from error
    except ValueError as error:
        assert refusal(error) == "a.png: the disk is full; make room"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("ours"),
        RuntimeError("could not create a primitive descriptor for it"),
        FileNotFoundError(errno.ENOENT, "x", "y"),
        FoundryError("z"),
    ],
)
def test_our_own_faults_are_none(error: Exception) -> None:
    assert refusal(error) is None
