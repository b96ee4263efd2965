"""Errors that are for people: one line that says what is wrong, what was got and what to do."""


class FoundryError(Exception):
    """A mistake in what was handed over; printed as one line, without a traceback."""


class Diverged(FoundryError):
    """A loss stopped being finite; the last good checkpoint is kept."""


# What reading damaged bytes can end in, besides the unpickler's own errors.
DAMAGE = (RuntimeError, LookupError, TypeError, ValueError, AttributeError, EOFError, OSError)
