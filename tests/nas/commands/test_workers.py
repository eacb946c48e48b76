from __future__ import annotations

from functools import partial

import pytest
import torch

from nas.commands.workers import executor_of


@pytest.mark.parametrize(
    ("device", "visible", "gpus"),
    [
        ("cuda", None, ("0", "1", "2")),
        ("cuda", "3,GPU-7", ("3", "GPU-7")),
        ("cuda:1", None, ()),
        ("cpu", None, ()),
    ],
)
def test_jobs_share_the_gpus(
    monkeypatch: pytest.MonkeyPatch, device: str, visible: str | None, gpus: tuple[str, ...]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    made = executor_of(8, None, torch.device(device))
    assert isinstance(made, partial)
    assert made.keywords == {"jobs": 8, "gpus": gpus}
