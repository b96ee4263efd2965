"""What the report of a run collects from a project's folder."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.support import prefect_reports, times
from pipelines.support.report import figures, summary
from pipelines.support.report.collecting import collected
from srfoundry.config import params as params_file
from srfoundry.reporting.run.page import rendered
from srfoundry.tracking.spool import StageRun
from tests.shipped import SHIPPED


def git(root: Path, *words: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=root, check=True, capture_output=True
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n"
        "  evaluate:\n    cmd: a\n    metrics: [results/evaluate/metrics.json]\n"
        "  export:\n    cmd: b\n    deps: [results/evaluate/metrics.json]\n    metrics: [results/export/metrics.json]\n"
    )
    (tmp_path / "params.yaml").write_text(SHIPPED.read_text())
    write(tmp_path, 2.0)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def write(root: Path, gain: float) -> None:
    test = {"bicubic": {"psnr_y": 30.0}, "dual": {"psnr_y": 30.0 + gain, "gain_db": gain, "ssim_y": 0.9}}
    each = {"bicubic": {"a": 30.0, "b": 30.0}, "dual": {"a": 33.0, "b": 29.5}}
    path = root / "results/evaluate/metrics.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"bicubic": test, "by_photograph": {"bicubic": each}}))


def test_figures_are_held_against_the_last_commit(project: Path) -> None:
    write(project, 2.5)
    change = next(each for each in figures.key_figures(project) if each.name.startswith("dual over"))
    assert (change.now, change.before, change.difference) == (2.5, 2.0, "+0.5")


def test_the_worst_photograph_stands_beside_the_mean(project: Path) -> None:
    best, bicubic = figures.quality(project)["bicubic"]
    assert (best.model, best.worst) == ("dual", "b -0.50 dB")
    assert bicubic.worst == ""


def test_stages_say_what_the_last_reproduction_did(project: Path) -> None:
    times.note(project, "evaluate", 3.0, threads=1, device="cpu")
    shown = collected(project, params_file.load(project / "params.yaml")).stages
    assert [(each.name, each.state, each.seconds) for each in shown] == [
        ("evaluate", "ran", 3.0),
        ("export", "never ran", None),
    ]
    times.begin(project)
    again = collected(project, params_file.load(project / "params.yaml")).stages
    assert again[0].state == "up to date"


def test_a_changed_value_is_named(project: Path) -> None:
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("  seed: 1 ", "  seed: 2 ", 1))
    report = collected(project, params_file.load(project / "params.yaml"))
    assert any(line.startswith("+  seed: 2") for line in report.changed)
    assert "seed: 2" in rendered(report)


@pytest.mark.parametrize("program", [True, False])
def test_without_git_or_results_there_is_a_report_all_the_same(
    program: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a repository, and without the program itself."""
    if not program:
        monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "params.yaml").write_text(SHIPPED.read_text())
    report = collected(tmp_path, params_file.load(tmp_path / "params.yaml"))
    assert "none" in dict(report.facts)["commit"]
    assert "report" in summary.text(tmp_path, "results/report.html")


def test_prefect_links_the_page_beside_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    class Client:
        def __enter__(self) -> "Client":
            return self

        def __exit__(self, *_: object) -> None:
            """Nothing."""

        def request(self, method: str, path: str, **values: Any) -> SimpleNamespace:
            asked.append((path, values["json"]))
            return SimpleNamespace(json=lambda: [] if path.endswith("filter") else {"id": "7"})

    monkeypatch.setattr(prefect_reports, "client", lambda url: Client())
    opening = {"stage": "report", "params": {}, "labels": [], "prefect": "http://there", "host": "here"}
    run = StageRun(tmp_path / "box", opening)
    page = tmp_path / "report.html"
    page.write_text("page")
    run.picture(page)
    run.close()
    prefect_reports.PrefectRecipient(tmp_path).deliver(run.box)
    (link,) = [values for path, values in asked if path == "/artifacts/"]
    assert link["flow_run_id"] == "7"
    assert "results/report.html" in link["data"]
