"""`make release`: date the changelog, write wheel, bill of materials and notes into dist/, tag the commit.

python -m scripts.release 0.2.0              all of it
python -m scripts.release 0.2.0 --dry-run    writes into dist/ alone; the repository stays as it is
"""

import argparse
import datetime
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from srfoundry.core.errors import FoundryError

ROOT = Path(__file__).parent.parent
VERSION = re.compile(r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?")
PLACES = {  # file: the line that holds the version
    "pyproject.toml": r'^version = "(.*)"$',
    "CITATION.cff": r"^version: (.*)$",
    "Dockerfile": r"^ARG VERSION=(.*)$",
}


def current(root: Path) -> str:
    """The version that pyproject.toml has."""
    found = re.search(PLACES["pyproject.toml"], (root / "pyproject.toml").read_text(), re.MULTILINE)
    if found is None:
        raise FoundryError("pyproject.toml has no line `version = ...`; restore it from git")
    return found[1]


def notes(root: Path, version: str) -> str:
    """The changelog's entries of a version, or of what is unreleased.

    Raises:
        FoundryError: there are none.
    """
    text = (root / "CHANGELOG.md").read_text()
    for title in (version, "Unreleased"):
        found = re.search(rf"^## \[{re.escape(title)}\].*?\n(.*?)(?=^## \[|\Z)", text, re.MULTILINE | re.DOTALL)
        if found and found[1].strip():
            return found[1].strip() + "\n"
    raise FoundryError(f"CHANGELOG.md has no entries for {version} or under Unreleased; write what changed")


def bill(root: Path, version: str) -> str:
    """The bill of materials: every locked package with its version and, where it is installed, its licence.

    Returns:
        CycloneDX 1.6 as JSON, the same for the same lock but for its serial number and time.
    """
    bom: Any = Bom()
    component: Any = Component  # the library's decorators leave its types unsaid
    whole = component(name="srfoundry", version=version, bom_ref="srfoundry", type=ComponentType.APPLICATION)
    parts, licences = [], LicenseFactory()
    for line in (root / "requirements.lock").read_text().split():
        name, _, number = line.partition("==")
        said = _licence(name)
        parts.append(
            component(
                name=name,
                version=number,
                bom_ref=name,
                type=ComponentType.LIBRARY,
                purl=PackageURL("pypi", name=name, version=number),
                licenses=[licences.make_from_string(said)] if said else None,
            )
        )
    bom.metadata.component = whole
    bom.components.update(parts)
    bom.register_dependency(whole, parts)
    return JsonV1Dot6(bom).output_as_string(indent=2)


def _licence(name: str) -> str | None:
    try:
        about = metadata(name)
    except PackageNotFoundError:
        return None
    said = [about[key].strip() for key in ("License-Expression", "License") if key in about]
    return next((text.splitlines()[0][:80] for text in said if text), None)


def dated(root: Path, version: str, day: str) -> dict[str, str]:
    """The files that a release changes, with their new content."""
    log = (root / "CHANGELOG.md").read_text()
    changed = {"CHANGELOG.md": log.replace("## [Unreleased]\n", f"## [Unreleased]\n\n## [{version}] - {day}\n", 1)}
    for name, pattern in PLACES.items():
        text = (root / name).read_text()
        changed[name] = re.sub(pattern, lambda found: found[0].replace(found[1], version), text, count=1, flags=re.M)
    return changed


def release(root: Path, version: str, *, dry_run: bool) -> list[Path]:
    """Write dist/ and, unless it is a dry run, commit the version and tag it; returns what was written.

    Where that fails, the repository is as it was.

    Raises:
        FoundryError: the version is none or not newer, the tree is not clean, or nothing is in the changelog.
    """
    from packaging.version import Version

    if not VERSION.fullmatch(version):
        raise FoundryError(f"version must be like 1.2.3 or 1.2.3rc1, got {version!r}; see semver.org")
    tags = _run(root, "git", "tag", "--list", f"v{version}")
    if tags.strip() or Version(version) <= Version(current(root)):
        raise FoundryError(f"version must be above {current(root)} and have no tag, got {version}; choose the next one")
    if not dry_run and _run(root, "git", "status", "--porcelain").strip():
        raise FoundryError("the tree has changes that are not committed; commit or stash them first")
    said, out = notes(root, version), root / "dist"
    changes = dated(root, version, datetime.date.today().isoformat())
    before, done = {name: (root / name).read_bytes() for name in changes}, False
    head = "" if dry_run else _run(root, "git", "rev-parse", "HEAD").strip()
    out.mkdir(exist_ok=True)
    try:
        for name, text in changes.items():
            (root / name).write_text(text)
        wheel = _run(root, sys.executable, "-c", BUILD, str(out)).split()[-1]
        written = [out / wheel, out / f"srfoundry-{version}.cdx.json", out / f"srfoundry-{version}.md"]
        written[1].write_text(bill(root, version))
        written[2].write_text(f"# srfoundry {version}\n\n{said}")
        if not dry_run:
            _run(root, "git", "commit", "--quiet", "--message", f"Version {version}", *changes)
            _run(root, "git", "tag", "--annotate", f"v{version}", "--message", f"srfoundry {version}")
            done = True
    finally:
        if not done:  # a failed release can be made again: the version is not taken, the tree is clean
            for name, content in before.items():
                (root / name).write_bytes(content)
            if head:  # takes back a commit whose tag failed, as where it cannot be signed
                _run(root, "git", "reset", "--quiet", head)
    return written


BUILD = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"


def _run(root: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=root, text=True, capture_output=True)
    if done.returncode:
        raise FoundryError(f"{command[0]} {command[1]} failed: {done.stderr.strip()[-300:]}; mend that, then again")
    return done.stdout


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", help="the new one, as 0.2.0")
    parser.add_argument("--dry-run", action="store_true", help="write into dist/ alone")
    options = parser.parse_args()
    try:
        for path in release(ROOT, options.version, dry_run=options.dry_run):
            sys.stdout.write(f"{path.relative_to(ROOT)}\n")
    except FoundryError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
