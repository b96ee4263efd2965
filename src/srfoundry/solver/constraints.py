"""Where a solver's variables may be: maps of rows onto the simplex, the sphere and the ball."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


def simplex(variable: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """Positive and of sum 1, by a softmax over all of a row: for `reparam`."""
    return torch.softmax(variable.flatten(1), dim=1).view_as(variable)


def shares(variable: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """Not negative and of sum 1, by clamping and dividing; what is there already stays: for `iterate`."""
    positive = variable.flatten(1).clamp_min(0)
    return (positive / positive.sum(dim=1, keepdim=True).clamp_min(1e-12)).view_as(variable)


def sphere(variable: Float[Tensor, "n ..."], power: Tensor | float) -> Float[Tensor, "n ..."]:
    """Of the squared length `power` (a number, or one a row)."""
    return variable * column(power**0.5 / length(variable), variable)


def ball(variable: Float[Tensor, "n ..."], power: Tensor | float) -> Float[Tensor, "n ..."]:
    """Of the squared length `power` at most."""
    return variable * column((power**0.5 / length(variable)).clamp_max(1.0), variable)


def length(variable: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    """Of each row, and never 0."""
    return variable.flatten(1).norm(dim=1).clamp_min(1e-30)


def column(values: Shaped[Tensor, " n"], like: Float[Tensor, "n ..."]) -> Shaped[Tensor, "n ..."]:
    """A value a row in a shape that multiplies `like`."""
    return values.view(-1, *[1] * (like.ndim - 1))
