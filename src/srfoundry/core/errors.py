"""Errors that are for people: one line that says what is wrong, what was got and what to do."""

import errno
import os
import re

from srfoundry.core.urls import redacted


class FoundryError(Exception):
    """A mistake in what was handed over; printed as one line, without a traceback, and without credentials."""

    def __init__(self, text: str = "", *more: object) -> None:
        super().__init__(redacted(text) if isinstance(text, str) else text, *more)


class Diverged(FoundryError):
    """A loss or a weight stopped being finite; the last good checkpoint is kept."""


class NoRoom(FoundryError):
    """What was to be written found no room, which may be there later."""


# What reading damaged bytes can end in, besides the unpickler's own errors.
DAMAGE = (RuntimeError, LookupError, TypeError, ValueError, AttributeError, EOFError, OSError)

# What allocators of PyTorch, CUDA's libraries, ONNX Runtime and C++ say where Python raises no MemoryError.
_ALLOCATORS = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "failed to allocate memory",
    "unable to allocate",
    "bad_alloc",
    "bad allocation",
    "status_alloc_failed",
)
# What oneDNN says where it had no memory for its code or its scratchpad; it keeps the reason to itself.
_ONEDNN = ("could not create a primitive", "could not create a memory object", "could not execute a primitive")


_CONTROL = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160), 0x2028, 0x2029)}


def one_line(text: str) -> str:
    r"""A text for a terminal: control characters, which a file's name may hold, stand as escapes.

    >>> one_line("a\nb")
    'a\\nb'
    """
    return text.translate(_CONTROL)


def is_out_of_room(error: BaseException) -> bool:
    """Whether an error means that the disk, the quota or a file's limit is full."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return isinstance(error, NoRoom) or (isinstance(error, OSError) and error.errno in full)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory was asked for that is not there."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or text in _ONEDNN or any(sign in text for sign in _ALLOCATORS)


# What the system refuses, by its own number: what to say of it, and what to do.
_REFUSALS: dict[int, str] = {
    errno.ENOSPC: "the disk is full; make room",
    errno.EDQUOT: "the quota of the disk is used up; make room",
    errno.EFBIG: "the file is larger than files may be here; raise the limit (ulimit -f)",
    errno.EROFS: "the file system cannot be written to; make it writable, or work elsewhere",
    errno.EACCES: "permission denied; change the permissions, or work elsewhere",
    errno.EPERM: "the operation is not permitted; change the permissions, or work elsewhere",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine; end other programs",
    errno.EAGAIN: "no more processes or threads can be started; raise the limit (ulimit -u), or end other programs",
    errno.ENOMEM: "there is not enough memory; end other programs, or choose smaller values",
    errno.EBUSY: "it is in use, or another disk is mounted there; end what uses it, or mount the folder above it",
    errno.EIO: "the disk does not answer as it should; look at the system's log",
}
# What NumPy says where a file took less than was written, without the system's reason.
_CUT_SHORT = re.compile(r"\d+ requested and \d+ written")
_NO_ROOM = "the disk is full, or files may not be so large here; make room, or raise the limit (ulimit -f)"
_THREADS = ("can't start new thread", "can't start new process", "resource temporarily unavailable")
# What an import says that the loader of shared libraries could not finish.
_LOADER = ("failed to map segment", "cannot allocate memory", "cannot create shared object descriptor")


def refusal(error: BaseException) -> str | None:
    """The sentence of what the system refused: room, memory, permission, handles, threads; None for any other error.

    Libraries wrap such errors in their own or only repeat their words, so causes and texts are looked at, too.
    """
    seen: BaseException | None = error
    while seen is not None:
        number = seen.errno if isinstance(seen, OSError) else None
        text = " ".join(str(seen).split())
        low = text.lower()
        if _CUT_SHORT.search(low):
            return _NO_ROOM
        if is_out_of_memory(seen) or any(sign in low for sign in _LOADER):
            number = errno.ENOMEM
        elif any(sign in low for sign in _THREADS):
            number = errno.EAGAIN
        elif number not in _REFUSALS:
            number = next((each for each in _REFUSALS if os.strerror(each).lower() in low), None)
        if number is not None:
            path = seen.filename if isinstance(seen, OSError) and seen.filename is not None else None
            return f"{os.fsdecode(path)}: {_REFUSALS[number]}" if isinstance(path, (str, bytes)) else _REFUSALS[number]
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return None
