"""The ways in which `compress` makes a net smaller, by name; budget, fine-tuning and card are common to all.

A further one is a function `compress(net, duals, how, on)` in a file of its own (the type is `recipe.Compress`) and a
line here. Imports nothing heavy, since params.yaml is checked against the names.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator

from srfoundry.core.addresses import one_of, resolve


@dataclass(frozen=True)
class Compressor:
    """A way to make a net smaller.

    Args:
        function: module:function.
        searches: whether it trains while it decides. The fine-tuning of one that does not is longer by the steps of
            the others' search.
    """

    function: str
    searches: bool

    def load(self) -> Any:
        """The function, a `recipe.Compress`."""
        return resolve(self.function)


COMPRESSORS = {
    "drc": Compressor("srfoundry.compression.drc:compress", searches=True),  # searched widths
    "msgc": Compressor("srfoundry.compression.msgc.compressor:compress", searches=True),  # groups choose what they read
    "uniform": Compressor("srfoundry.compression.baselines:uniform", searches=False),  # one keep ratio, by magnitude
    "random": Compressor("srfoundry.compression.baselines:random", searches=False),  # the same widths, any channels
}


CompressorName = Annotated[str, AfterValidator(one_of(lambda: COMPRESSORS))]
