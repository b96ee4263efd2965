"""Errors that are for people: one line that says what is wrong, what was got and what to do."""


class FoundryError(Exception):
    """A mistake in what was handed over; printed as one line, without a traceback."""


class Diverged(FoundryError):
    """A loss stopped being finite; the last good checkpoint is kept."""


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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory was asked for that is not there."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in text for sign in _ALLOCATORS)
