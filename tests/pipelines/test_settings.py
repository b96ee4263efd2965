"""Settings of the machine: from .env or the environment, typed, and without passwords in what people see."""

import os
from pathlib import Path

import pytest

from pipelines.support import settings
from srfoundry.core.errors import FoundryError

TEXT = """
SRFOUNDRY_DASK=tcp://scheduler:8786
SRFOUNDRY_DASK_RETRIES=5
MLFLOW_TRACKING_URI=http://team:secret@mlflow:5000
PREFECT_API_URL=http://prefect:4200/api
POSTGRES_PASSWORD=of-compose-alone
SRFOUNDRY_NOTIFY=https://hooks.example.org/secret
"""
NAMES = [line.partition("=")[0] for line in TEXT.split()]


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without these names, and as it was afterwards."""
    for name in NAMES:
        monkeypatch.setenv(name, "")  # so that monkeypatch knows what to restore
        monkeypatch.delenv(name)
    return monkeypatch


def test_without_a_file_nothing_is_asked(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings.prepare(tmp_path)
    assert settings.machine() == settings.Machine() and settings.machine().dask == ""


def test_the_file_says_it_and_the_environment_wins(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(TEXT)
    bare.setenv("SRFOUNDRY_DASK", "tcp://mine:8786")
    settings.prepare(tmp_path)
    found = settings.machine()
    assert found.dask == "tcp://mine:8786" and found.dask_retries == 5
    assert os.environ["PREFECT_API_URL"] == "http://prefect:4200/api"
    assert "POSTGRES_PASSWORD" not in os.environ
    assert "secret" not in str(found) and found.notify.get_secret_value().endswith("/secret")


def test_a_wrong_value_is_one_line(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("SRFOUNDRY_DASK_RETRIES", "often")
    with pytest.raises(FoundryError, match="SRFOUNDRY_DASK_RETRIES=often: .*docs/cluster.md"):
        settings.machine()
