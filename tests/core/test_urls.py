"""No credentials where people look: in addresses, texts, errors, and what goes to MLflow and Prefect."""

import pickle

import pytest

from srfoundry.core.errors import Diverged, FoundryError
from srfoundry.core.urls import hidden, redacted

SECRET = "s3cr3t-Value"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (f"https://me:{SECRET}@host:5000/a?b=1", "https://host:5000/a?b=1"),
        (f"https://{SECRET}@host", "https://host"),
        (f"postgresql://me:{SECRET}@db/mlflow", "postgresql://db/mlflow"),
        (f"at http://h/a?token={SECRET}&page=2, twice", "at http://h/a?token=***&page=2, twice"),
        (f"s3://b/k?X-Amz-Signature={SECRET}&X-Amz-Credential={SECRET}", "s3://b/k?X-Amz-Signature=***&X-Amz-Credential=***"),
        (f"https://h/x?sv=1&sig={SECRET}", "https://h/x?sv=1&sig=***"),
        (f"'https://h/x?access_token={SECRET}'", "'https://h/x?access_token=***'"),
        (f"Authorization: Bearer {SECRET}", "Authorization: Bearer ***"),
        ("https://host/a@b?keys=3#top", "https://host/a@b?keys=3#top"),
        ("sqlite:////a/mlflow.db", "sqlite:////a/mlflow.db"),
        ("a = b, photo@2x.png, monkey=1", "a = b, photo@2x.png, monkey=1"),
    ],
)  # fmt: skip
def test_what_is_shown(text: str, wanted: str) -> None:
    assert redacted(text) == wanted
    assert str(FoundryError(text)) == str(Diverged(text)) == wanted


def test_secrets_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD", "PREFECT_API_KEY", "HF_TOKEN", "SRFOUNDRY_NOTIFY")
    for number, name in enumerate(names):
        monkeypatch.setenv(name, f"{SECRET}{number}")
    monkeypatch.setenv("SHORT_TOKEN", "on")
    text = f"status 403: {', '.join(f'{SECRET}{number}' for number in range(len(names)))} went on"
    assert redacted(text) == f"status 403: {', '.join(['***'] * len(names))} went on"


def test_values_of_params_and_errors_that_travel() -> None:
    values = {"synthesize": {"sources": [{"url": f"https://u:{SECRET}@h/a.zip", "size": 3}]}, "on": True}
    assert hidden(values) == {"synthesize": {"sources": [{"url": "https://h/a.zip", "size": 3}]}, "on": True}
    assert str(pickle.loads(pickle.dumps(Diverged("https://u:p@h")))) == "https://h"
