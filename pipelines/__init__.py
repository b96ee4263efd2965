"""One file a stage: what DVC runs, Prefect watches and MLflow draws."""

import sys

if sys.argv[:1] == ["-m"]:  # Python is about to run one of these modules as a program
    from srfoundry.core.interrupts import leave_quietly

    leave_quietly()
