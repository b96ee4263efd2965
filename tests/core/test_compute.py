"""Precision: float32 stays float32."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from srfoundry.core.compute import autocast, fast_bfloat16, running_sum, sent, settle_gpu
from srfoundry.core.seeds import generator
from srfoundry.restoration import devices
from tests.pretended_gpu import pretended_gpu


def test_float32_is_never_lowered() -> None:
    with autocast(torch.device("cpu"), "float32"):
        assert nn.Conv2d(1, 1, 1)(torch.ones(1, 1, 2, 2)).dtype == torch.float32
    with autocast(torch.device("cpu"), "bfloat16"):
        assert nn.Conv2d(1, 1, 1)(torch.ones(1, 1, 2, 2)).dtype == torch.bfloat16


def test_the_program_computes_on_a_gpu_as_exactly_as_a_stage_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    assert devices.chosen("cpu") == torch.device("cpu")
    assert not torch.backends.cudnn.allow_tf32 and torch.backends.cudnn.deterministic


@pytest.fixture
def settings_put_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What `settle_gpu` changes is as before after the test."""
    cudnn, memory = torch.backends.cudnn, torch.utils.deterministic
    for module, name in (
        (cudnn, "allow_tf32"),
        (cudnn, "deterministic"),
        (cudnn, "benchmark"),
        (memory, "fill_uninitialized_memory"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    yield
    torch.use_deterministic_algorithms(False)


def test_a_gpu_takes_deterministic_ways_or_raises_and_a_cpu_its_own(settings_put_back: None) -> None:
    settle_gpu(torch.device("cuda"), tf32=False)
    assert torch.are_deterministic_algorithms_enabled() and not torch.is_deterministic_algorithms_warn_only_enabled()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    settle_gpu(torch.device("cpu"), tf32=False)
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_running_sum_is_the_same_on_a_gpu() -> None:
    values = torch.rand(50, dtype=torch.float64, generator=generator(1, "sum"))
    with pretended_gpu() as device:
        assert running_sum(values.to(device)).cpu().allclose(values.cumsum(dim=0))


def test_batches_are_sent_to_a_gpu_from_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a wait; elsewhere they are where they are wanted, or just copied."""
    said: list[tuple[object, ...]] = []
    pinned = torch.ones(1)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned)
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, device, **how: said.append((tensor, device, how)) or tensor)
    image = torch.zeros(1)
    sent(image, torch.device("cuda"))
    sent(image, torch.device("cpu"))
    assert said[0] == (pinned, torch.device("cuda"), {"non_blocking": True}) and said[1][0] is image


def test_a_processors_units_say_nothing_of_other_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    assert fast_bfloat16(torch.device("cpu")) and not fast_bfloat16(torch.device("meta"))


def test_units_that_the_library_may_not_use_do_not_count() -> None:
    """With them alone USRNet took 55 s for an image in place of 6."""
    script = "import torch; from srfoundry.core.compute import fast_bfloat16; print(fast_bfloat16(torch.device('cpu')))"
    limited = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert limited.stdout.split() == ["False"]
