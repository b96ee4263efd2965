"""The kernel estimators by name: what `estimate.method` in params.yaml may be.

A new one is a file with a record (`estimate.Estimator`) and a line of this table. Nothing is imported before it is
used, since the names alone are read with params.yaml.
"""

from typing import TYPE_CHECKING

from srfoundry.core.addresses import one_of, resolve
from srfoundry.core.errors import FoundryError

if TYPE_CHECKING:
    from srfoundry.blind.estimate import Estimator

# name -> "module:RECORD"
ESTIMATORS = {
    "auto": "srfoundry.blind.auto.estimation:AUTO",  # weighs what happened, then asks one of the following
    "fast": "srfoundry.blind.corrector.correction:FAST",  # a corrector's corrections: Gaussians, trained
    "free": "srfoundry.blind.motion_deblur.estimation:FREE",  # any form, such as motion: few edges, trained restorer
    "unfolded": "srfoundry.blind.unfolded.estimation:UNFOLDED",  # any form: closed forms, learned networks between them
    "dkp": "srfoundry.blind.dkp.dkp:DKP",
    "mlmc": "srfoundry.blind.dkp.mlmc:MLMC",
    "released": "srfoundry.blind.dkp.released:RELEASED",  # the program that DKP's authors published
}


def find(method: str) -> "Estimator":
    """The estimator of a name.

    Raises:
        FoundryError: it is not in the table.
    """
    try:
        return resolve(ESTIMATORS[one_of(lambda: ESTIMATORS)(method)])
    except ValueError as error:
        raise FoundryError(f"estimate.method {error}; choose one of these") from None
