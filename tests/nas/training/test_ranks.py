"""Two processes, talking by gloo, as torchrun starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import torch
import two_ranks

from nas.training import ALONE, Ranks, join_ranks


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return what each of two processes ended with."""
    out = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [*command, two_ranks.__file__, str(out)], env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert (out / "checkpoint.pt").exists()
    return [torch.load(out / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_both_end_with_the_same_weights(together: list[dict[str, Any]]) -> None:
    first, second = together
    assert first["size"] == second["size"] == 2
    assert all(torch.equal(first["weights"][name], second["weights"][name]) for name in first["weights"])
    assert first["losses"] == second["losses"]


def test_both_train_the_same_subnets(together: list[dict[str, Any]]) -> None:
    assert together[0]["ran"] == together[1]["ran"]
    assert len(set(together[0]["ran"])) > 2


def test_the_result_is_that_of_one_process_with_the_same_batches(together: list[dict[str, Any]]) -> None:
    alone: dict[str, Any] = two_ranks.trained()
    assert together[0]["losses"] == pytest.approx(alone["losses"], rel=1e-4)
    for name, value in alone["weights"].items():
        assert torch.allclose(together[0]["weights"][name], value, atol=1e-4), name


def test_a_finished_training_is_read_by_one_and_known_to_both(together: list[dict[str, Any]]) -> None:
    for result in together:
        assert result["again"]["ran"] == []
        assert result["again"]["losses"] == result["losses"]
        for name, value in result["weights"].items():
            assert torch.equal(result["again"]["weights"][name], value)


def test_both_end_with_the_same_average_also_when_resumed(together: list[dict[str, Any]]) -> None:
    expected = together[0]["averaged"]
    for result in together:
        for name, value in expected.items():
            assert torch.equal(result["averaged"][name], value), name
            assert torch.equal(result["averaged, resumed"][name], value), name


def test_what_rank_0_makes_is_there_for_both(together: list[dict[str, Any]]) -> None:
    assert [result["made"] for result in together] == [True, True]


def test_without_torchrun_a_process_is_alone() -> None:
    with join_ranks(torch.device("cpu")) as ranks:
        assert ranks == ALONE == Ranks(0, 1)
        assert ranks.first
        assert ranks.agree(True)
