"""What a contributor and a packager rely on: licence, changelog, hooks, a release that can be made."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from scripts import release
from srfoundry.core.errors import FoundryError
from tests.conftest import REPO


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small repository with what a release reads and the package itself."""
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE", "CHANGELOG.md", "CITATION.cff", "Dockerfile"):
        shutil.copy(REPO / name, tmp_path)
    (tmp_path / "requirements.lock").write_text("numpy==2.4.0\nnonesuch==1.0\n")
    package = tmp_path / "src" / "srfoundry"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (tmp_path / ".gitignore").write_text("/dist/\n")
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "--quiet"], ["add", "."], [*identity, "commit", "--quiet", "--message", "all"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    for key in ("user.name", "user.email"):
        subprocess.run(["git", "config", key, "a@example.org"], cwd=tmp_path, check=True)
    return tmp_path


def test_a_dry_run_writes_everything_and_changes_nothing(checkout: Path) -> None:
    before = {path: path.read_bytes() for path in checkout.iterdir() if path.is_file()}
    wheel, bill, notes = release.release(checkout, "9.0.0", dry_run=True)
    assert wheel.name == "srfoundry-9.0.0-py3-none-any.whl" and wheel.is_file()
    parts = {each["name"]: each for each in json.loads(bill.read_text())["components"]}
    assert parts["numpy"]["purl"] == "pkg:pypi/numpy@2.4.0" and parts["numpy"]["licenses"]
    assert set(parts) == {"numpy", "nonesuch"}
    assert notes.read_text().startswith("# srfoundry 9.0.0\n\n### ")
    assert {path: path.read_bytes() for path in checkout.iterdir() if path.is_file()} == before
    assert not subprocess.run(["git", "tag"], cwd=checkout, capture_output=True).stdout


def test_a_release_is_dated_committed_and_tagged(checkout: Path) -> None:
    release.release(checkout, "9.0.0", dry_run=False)
    assert release.current(checkout) == "9.0.0"
    assert re.search(r"^## \[9\.0\.0\] - \d{4}-\d\d-\d\d$", (checkout / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert YAML(typ="safe").load((checkout / "CITATION.cff").read_text())["version"] == "9.0.0"
    assert "\nARG VERSION=9.0.0\n" in (checkout / "Dockerfile").read_text()
    assert subprocess.run(["git", "tag"], cwd=checkout, text=True, capture_output=True).stdout == "v9.0.0\n"
    with pytest.raises(FoundryError, match="must be above 9.0.0"):
        release.release(checkout, "9.0.0", dry_run=True)


def test_a_release_that_fails_can_be_made_again(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the build fails, the bill, or at the end a hook of git, or the tag after the commit."""
    head = ["git", "rev-parse", "HEAD"]
    first = subprocess.run(head, cwd=checkout, capture_output=True, check=True).stdout
    before = {path: path.read_bytes() for path in checkout.iterdir() if path.is_file()}
    hook = checkout / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    for name, broken in (("BUILD", "raise SystemExit(1)"), ("bill", lambda *_: 1 / 0), ("PLACES", release.PLACES)):
        with monkeypatch.context() as patched, pytest.raises((FoundryError, ZeroDivisionError)):
            patched.setattr(release, name, broken)
            release.release(checkout, "9.0.0", dry_run=False)
        assert {path: path.read_bytes() for path in checkout.iterdir() if path.is_file()} == before
    hook.unlink()
    for key, text in (("gpg.program", "false"), ("tag.gpgSign", "true")):
        subprocess.run(["git", "config", key, text], cwd=checkout, check=True)
    with pytest.raises(FoundryError, match="git tag failed"):
        release.release(checkout, "9.0.0", dry_run=False)
    assert {path: path.read_bytes() for path in checkout.iterdir() if path.is_file()} == before
    assert subprocess.run(head, cwd=checkout, capture_output=True, check=True).stdout == first
    subprocess.run(["git", "config", "tag.gpgSign", "false"], cwd=checkout, check=True)
    release.release(checkout, "9.0.0", dry_run=False)
    assert release.current(checkout) == "9.0.0"


@pytest.mark.parametrize(("version", "said"), [("1.2", "must be like"), ("0.0.1", "must be above")])
def test_a_version_that_cannot_be_is_refused(checkout: Path, version: str, said: str) -> None:
    with pytest.raises(FoundryError, match=said):
        release.release(checkout, version, dry_run=True)


def test_an_unclean_tree_is_refused(checkout: Path) -> None:
    (checkout / "README.md").write_text("changed")
    with pytest.raises(FoundryError, match="not committed"):
        release.release(checkout, "9.0.0", dry_run=False)


def test_hooks_are_the_checks_of_make_test() -> None:
    """All of them but for the tests themselves."""
    recipe = re.search(r"^test:.*?\n\n", (REPO / "Makefile").read_text(), re.MULTILINE | re.DOTALL)
    hooks = YAML(typ="safe").load((REPO / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    entries = " ".join(each["entry"] for each in hooks).replace(".venv/bin/", "")
    assert recipe is not None
    for check in ("ruff format --check -q", "ruff check -q", "lint-imports --no-cache", "basedpyright --level error"):
        assert check in recipe[0] and check in entries


@pytest.mark.parametrize("words", [[], ["REGISTRY=1"]])
def test_clean_leaves_the_registry_unless_asked(words: list[str]) -> None:
    said = subprocess.run(["make", "-n", "clean", *words], cwd=REPO, text=True, capture_output=True, check=True).stdout
    assert ".ckpt" in said and ("mlflow.db" in said, "mlartifacts" in said) == (bool(words), bool(words))


def test_the_changelog_has_what_is_unreleased_and_every_version() -> None:
    titles = re.findall(r"^## \[(.*?)\]", (REPO / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert titles[0] == "Unreleased" and titles[1] == release.current(REPO)


def test_every_place_has_the_same_version() -> None:
    for name, pattern in release.PLACES.items():
        assert re.findall(pattern, (REPO / name).read_text(), re.MULTILINE) == [release.current(REPO)], name


def test_notices_name_everything_that_lies_here() -> None:
    """Folders of others' work, each with its licence beside it."""
    said = (REPO / "NOTICE").read_text()
    for path in re.findall(r"(?:src|tests)/[\w/.-]+\w", said):
        assert (REPO / path).exists(), path
    for licence in (REPO / "src").rglob("*icence*.txt"):
        assert licence.relative_to(REPO).as_posix() in said
    for vendored in (REPO / "src").rglob("vendor/*"):
        assert vendored.relative_to(REPO).as_posix() in said and (vendored / "LICENSE").is_file()


def test_the_citation_can_be_read() -> None:
    found = YAML(typ="safe").load((REPO / "CITATION.cff").read_text())
    assert found["cff-version"] and found["title"] and found["authors"] and found["version"] == release.current(REPO)
