"""Samples and training of the corrector resume to the same bytes."""

from pathlib import Path

import pytest
import torch

from tests.closed import photographs
from tests.nonblind import collected_samples, trained_corrector


def test_samples_and_training_resume_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srfoundry.training.loop.SAVE_SECONDS", 0.0)
    patches = photographs(tmp_path)
    whole = collected_samples(patches, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        collected_samples(patches, tmp_path / "cut", stop=2)
    resumed = collected_samples(patches, tmp_path / "cut")
    assert all(torch.equal(a, b) for a, b in zip(whole.all(), resumed.all(), strict=True))
    first = trained_corrector(whole, tmp_path / "whole", steps=6)
    with pytest.raises(KeyboardInterrupt):
        trained_corrector(whole, tmp_path / "cut", steps=6, stop=3)
    second = trained_corrector(whole, tmp_path / "cut", steps=6)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
