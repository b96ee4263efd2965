"""A registry that is a file, as the runtime asks for it."""

from pathlib import Path

import pytest

from srfoundry.core.errors import FoundryError
from srfoundry.deployment.held_out import Figures
from srfoundry.runtime import pulling
from srfoundry.tracking import registry
from tests import tiny


def test_a_model_in_a_file_store_is_found_and_fetched_by_the_same_calls(
    mlflow_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    blob = tiny.exported()[0]
    figures = Figures(31.0, 30.0, "these", None, len(blob))
    registry.register(blob, name="toy", figures=figures, tags={"scale": "2"}, score=lambda _: None)
    found = pulling.find("models:/toy@champion")
    assert (found.name, found.number, found.aliases, found.tags["scale"]) == ("toy", "1", ("champion",), "2")
    assert pulling.fetch(found) == pulling.pull("models:/toy/1") == blob
    assert [row["model"] for row in pulling.versions()] == ["toy"] and pulling.aliases("toy") == ["champion"]
    with pytest.raises(FoundryError, match="no such registered model"):
        pulling.find("models:/toy@other")
    with pytest.raises(FoundryError, match="models:/other: no such registered model"):
        pulling.aliases("other")
