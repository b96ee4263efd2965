"""What comes from outside as inputs of the stages: the installed versions, and what is in the user's folders.

After an upgrade no result stands as if nothing had happened. DVC runs this each time (`always_changed`), which takes a
moment; a file changes only when a version or a photograph does, and a wrong value stops everything here. It is no
flow of Prefect's, since it does no work that anybody would watch.
"""

import argparse
import json
from pathlib import Path

from pipelines.support import cache_objects, possible
from pipelines.support.inputs import write_lists
from pipelines.support.program import answering
from pipelines.support.versions import BESIDE, DISTRIBUTIONS, versions
from srfoundry.config import params
from srfoundry.core.atomic import write_bytes


def environment(root: Path) -> None:
    """Write results/environment/versions.json, and beside.json for the stages beside the graph."""
    for name, distributions in (("versions", DISTRIBUTIONS), ("beside", BESIDE)):
        text = json.dumps(versions(distributions), indent=2, sort_keys=True) + "\n"
        write_bytes(root / "results" / "environment" / f"{name}.json", text.encode())


def main(root: Path) -> None:
    """Write all lists, or say in one line what is wrong with the values or the folders."""
    with answering():
        values = params.load(root / "params.yaml")
        environment(root)
        write_lists(root, values)
        cache_objects.check(root)
        possible.check(root, values)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.environment",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
    main(Path.cwd())
