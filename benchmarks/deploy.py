"""What leaves the factory, measured: a runtime install, the server, the browser build, the members, the doors.

python -m benchmarks.deploy [PART ...]  needs `make repro` before; without a name every part, one after another

A part is `figures()` in benchmarks/_deploy_PART.py. Its keys replace those of its last run in results/deploy.json,
the other parts' stay; `machines` says where each part ran.
"""

import argparse
import importlib
import sys
from pathlib import Path

from benchmarks import table
from srfoundry.core.errors import FoundryError

PREFIX = "_deploy_"
PARTS = sorted(path.stem.removeprefix(PREFIX) for path in Path(__file__).parent.glob(f"{PREFIX}*.py"))


def measure(part: str) -> None:
    """Run one part, print its figures and merge them into the file."""
    table.merge("deploy", part, importlib.import_module(f"benchmarks.{PREFIX}{part}").figures(), threads=1)


def main() -> None:
    """Measure the parts that are named; one that fails is named at the end, the others are done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    wanted, failed = parser.parse_args().parts or PARTS, []
    if not set(wanted) <= set(PARTS):
        raise FoundryError(f"a part is one of {', '.join(PARTS)}, got {' '.join(wanted)}; leave them out for all")
    for part in wanted:
        sys.stdout.write(f"-- {part}\n")
        sys.stdout.flush()
        try:
            measure(part)
        except FoundryError as error:
            failed.append(f"{part}: {error}")
    if failed:
        raise FoundryError("; ".join(failed))


if __name__ == "__main__":
    table.run(main)
