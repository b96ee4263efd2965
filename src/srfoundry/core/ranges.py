"""Ranges of values: the types that settings and sections of params.yaml are made of.

A type says its range to pydantic, which checks params.yaml, and to a reader; Python callers are not checked twice.
"""

from typing import Annotated

from pydantic import AfterValidator, Field

Count = Annotated[int, Field(ge=1)]
Steps = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Names = Annotated[list[str], Field(min_length=1)]


def _odd(size: int) -> int:
    if size % 2 == 0:
        raise ValueError("must be odd, so that a kernel has a middle tap")
    return size


OddSize = Annotated[int, Field(ge=3, le=31), AfterValidator(_odd)]
