"""The program srfoundry."""

import sys

if sys.argv and sys.argv[0].rpartition("/")[2] in ("-m", "srfoundry"):  # Python is about to run it
    from srfoundry.core.interrupts import leave_quietly

    leave_quietly()
