"""A report shows what it was given, in one file that needs nothing else."""

import re
from pathlib import Path

import pytest

from srfoundry.reporting.curves import curves_figure, smoothed
from srfoundry.reporting.run.contents import Change, Curve, Member, Pair, Picture, Quality, RunReport, StageShown
from srfoundry.reporting.run.page import rendered, short
from tests import browser

DOT = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
    "AAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
ROWS = [{"step": float(step), "loss": 1 / step, "validation_loss": 1.2 / step} for step in range(1, 60)]
REPORT = RunReport(
    title="a project <of> mine",
    facts=[("commit", "0123456789"), ("processor", "one & only")],
    stages=[
        StageShown("data", [], "ran", 12.3, "2026-01-01 10:00", "CPU"),
        StageShown("train", ["data"], "up to date"),
        StageShown("judge", ["data", "train"], "never ran"),
    ],
    key_figures=[Change("gain, dB", 2.5, 2.25)],
    figures=[Change("train.loss", 0.5, 0.5), Change("train.new", 1.0, None)],
    quality={"bicubic": [Quality("dual", 34.0, 2.0, "cat +1.50 dB", 0.94), Quality("bicubic", 32.0, 0.0, "", None)]},
    curves=[Curve("train", ROWS, "validation: 34.56 dB"), Curve("empty", [])],
    pairs=[Pair("cat", DOT, DOT, "bicubic", "dual")],
    pictures=[Picture("Kernels", DOT)],
    members=[
        Member("dual", "dual", "bicubic", 1000, 10**9, 5000, 0.1, 34.0, 1e-6),
        Member("photo", "photo", "photographs", 1000, None, 5000, None, None, None),
    ],
    changed=[" M params.yaml", "+  scale: 3"],
    versions={"torch": "2"},
)


def test_everything_given_is_shown_and_escaped() -> None:
    page = rendered(REPORT)
    for shown in (
        "a project &lt;of&gt; mine",
        "one &amp; only",
        "12 s",
        "+0.25",
        "+1.50 dB",
        "scale: 3",
        "1 of 2 figures",
        "validation: 34.56 dB",
    ):
        assert shown in page, shown


def test_an_edge_that_another_path_implies_is_left_out() -> None:
    assert rendered(REPORT).count('class="edge"') == 2  # data to train, train to judge


def test_nothing_is_loaded_from_elsewhere() -> None:
    page = rendered(REPORT)
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)


def test_parts_without_contents_are_left_out() -> None:
    page = rendered(RunReport("none", [], [], [], [], {}, [], [], [], []))
    assert "Against bicubic" not in page
    assert 'id="models"' not in page


def test_it_opens_offline_without_an_error(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(rendered(REPORT))
    with browser.chromium(tmp_path, "--host-resolver-rules=MAP * ~NOTFOUND") as page:
        page.driver.get(path.as_uri())
        assert page.run("return customElements.get('img-comparison-slider') !== undefined")
        assert page.driver.get_log("browser") == []


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (1234567, "1,234,567"), (0.12345678, "0.123457"), ("on", "on")]
)
def test_figures_are_short(value: float | int | str | None, text: str) -> None:
    assert short(value) == text


def test_a_smoothed_constant_is_itself_and_noise_shrinks() -> None:
    assert smoothed([3.0] * 20) == pytest.approx([3.0] * 20)
    wild = smoothed([(-1.0) ** index for index in range(200)])
    assert max(map(abs, wild[20:-20])) < 0.1


def test_validation_is_drawn_beside_training_and_a_wide_range_on_a_logarithmic_axis() -> None:
    figure = curves_figure(ROWS, ["loss", "validation_loss"], "train")
    (axes,) = figure.axes
    assert axes.get_yscale() == "log"
    assert (legend := axes.get_legend()) is not None
    assert [text.get_text() for text in legend.get_texts()] == ["training", "validation"]
