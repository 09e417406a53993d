"""Devices by name, and bfloat16 where the processor says that it multiplies it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gansep.nets import precision
from gansep.nets.precision import autocast, gains_from_bfloat16, pick_device
from gansep.types import GansepError

CPU = torch.device("cpu")


def test_cpu_is_always_there_and_auto_takes_what_is_best(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pick_device("cpu") == CPU
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    assert pick_device("auto") == CPU
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    assert pick_device("auto").type == "mps"
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert pick_device("auto").type == "cuda"


@pytest.mark.parametrize("name", ["cuda", "cuda:1", "mps", "meta", "tpu", "", "CPU"])
def test_a_device_that_is_not_there_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(GansepError) as error:
        pick_device(name)
    assert str(error.value) == f"device {name!r} is not available here; expected auto or one of: cpu"


def test_a_graphics_card_beyond_the_last_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert pick_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(GansepError, match="'cuda:2' is not available"):
        pick_device("cuda:2")


def test_gains_agree_with_the_processor_s_flags() -> None:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        pytest.skip("no /proc/cpuinfo to compare with")
    flags = next((line.split(":")[1].split() for line in text.splitlines() if line.startswith("flags")), None)
    if flags is None:
        pytest.skip("/proc/cpuinfo names no x86 flags")
    assert gains_from_bfloat16(CPU) == bool({"amx_tile", "avx512_bf16"} & set(flags))


def test_without_torch_s_private_question_the_answer_is_no(monkeypatch: pytest.MonkeyPatch) -> None:
    for question in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.delattr(f"torch.cpu.{question}", raising=False)
    assert not gains_from_bfloat16(CPU)
    assert not gains_from_bfloat16(torch.device("mps"))


@pytest.mark.parametrize(("gains", "enabled"), [(True, True), (True, False), (False, True), (False, False)])
def test_autocast_computes_in_bfloat16_only_if_wanted_and_gained(
    gains: bool, enabled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "gains_from_bfloat16", lambda device: gains)
    with autocast(CPU, enabled):
        product = torch.eye(3) @ torch.full((3, 3), 1.001)
    assert product.dtype == (torch.bfloat16 if gains and enabled else torch.float32)
    if not (gains and enabled):
        assert torch.equal(product, torch.full((3, 3), 1.001))
