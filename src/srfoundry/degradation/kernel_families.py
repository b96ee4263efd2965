"""The families of kernels by name: what `synthesize.bank` in params.yaml counts and `srfoundry degrade --family` draws.

A new one is a function and a line of this table, and its count: a field of `settings.FamilyCounts`, a value in
params.yaml. Its kernels come into the bank, for metatrain, and out of `degrade`; what networks that are given a kernel
learn from is drawn elsewhere (docs/extending.md). Nothing is imported before it is used: --help has the names.
"""

from typing import TYPE_CHECKING, Any

from srfoundry.core.addresses import resolve

if TYPE_CHECKING:
    from srfoundry.degradation.kernels import Draw

# name -> "module:function"
FAMILIES = {
    "gaussian": "srfoundry.degradation.kernels:draw_gaussian",
    "noisy": "srfoundry.degradation.kernels:draw_noisy",
    "line": "srfoundry.degradation.kernels:draw_line",
    "trajectory": "srfoundry.degradation.kernels:draw_trajectory",
}


def draw(family: str, count: int, **how: Any) -> "Draw":
    """Draw kernels of a family.

    Args:
        family: its name.
        count: how many.
        how: as its function takes it: their `size` in taps a side, the `scale` that widths and lengths grow with, the
            generator `rng`, and `offset`.

    Raises:
        KeyError: there is no family of that name.
    """
    return resolve(FAMILIES[family])(count, **how)
