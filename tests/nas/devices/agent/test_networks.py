"""Networks in the memory of the agent's child."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from agents import network
from onnx import TensorProto, helper

from nas.devices.agent.networks import ModelError, Networks, fault_of

LARGE = 1 << 20


def stored(folder: Path, content: bytes) -> tuple[str, str]:
    """Return the digest and the path of a model, as the agent keeps it."""
    digest = hashlib.sha256(content).hexdigest()
    path = folder / f"{digest}.onnx"
    path.write_bytes(content)
    return digest, str(path)


def takes(kind: int, shape: list[Any]) -> bytes:
    """Return a network that passes on an input of a kind and a shape."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "network",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, None)],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def test_a_network_is_loaded_once_for_each_number_of_threads(tmp_path: Path) -> None:
    networks, model = Networks(LARGE), stored(tmp_path, network())
    one = networks.warm(*model, 1, 1)
    assert networks.warm(*model, 1, 4) is one
    assert networks.warm(*model, 2, 1) is not one
    one.run()


def test_a_network_that_is_forgotten_is_loaded_anew(tmp_path: Path) -> None:
    networks, model = Networks(LARGE), stored(tmp_path, network())
    one = networks.warm(*model, 1, 1)
    networks.forget(model[0], 1)
    networks.forget("0" * 64, 1)  # which was never there
    assert networks.warm(*model, 1, 1) is not one


def test_what_was_used_least_recently_makes_room(tmp_path: Path) -> None:
    contents = [network(width) for width in (8, 9, 10)]
    networks = Networks(len(contents[0]) + len(contents[2]))
    models = [stored(tmp_path, content) for content in contents]
    first, second, third = (networks.warm(*model, 1, 1) for model in models)
    assert networks.warm(*models[0], 1, 1) is first
    networks.make_room()
    assert networks.warm(*models[0], 1, 1) is first
    assert networks.warm(*models[2], 1, 1) is third
    assert networks.warm(*models[1], 1, 1) is not second


@pytest.mark.parametrize(
    "kind",
    [TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL],
)
def test_inputs_of_every_kind_are_made_up(tmp_path: Path, kind: int) -> None:
    Networks(LARGE).warm(*stored(tmp_path, takes(kind, ["batch", 3])), 1, 2).run()


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (takes(TensorProto.STRING, ["batch", 3]), "model", "a tensor of numbers is expected"),
        (takes(TensorProto.FLOAT, ["batch", "length"]), "model", "only the batch may be open"),
        (b"no model", "model", "."),
    ],
)
def test_a_model_that_can_not_be_run_says_why_and_is_not_kept(
    tmp_path: Path, content: bytes, error: str, message: str
) -> None:
    networks, model = Networks(LARGE), stored(tmp_path, content)
    for _ in range(2):
        with pytest.raises(ModelError, match=message) as caught:
            networks.warm(*model, 1, 1)
        assert caught.value.answer["error"] == error
        assert caught.value.answer["model"] == model[0]


def test_a_file_that_is_gone_or_another_is_told_apart(tmp_path: Path) -> None:
    digest, path = stored(tmp_path, network())
    Path(path).write_bytes(network(9))
    for expected in ("damaged", "missing"):
        with pytest.raises(ModelError) as caught:
            Networks(LARGE).warm(digest, path, 1, 1)
        assert caught.value.answer["error"] == expected
        Path(path).unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("error", "kind", "operator"),
    [
        (MemoryError(), "memory", None),
        (RuntimeError("Failed to allocate memory for requested buffer of size 9"), "memory", None),
        (RuntimeError("No Op registered for Nonsense with domain_version of 17"), "operator", "Nonsense"),
        (
            RuntimeError("Fatal error: com.acme:Op(-1) is not a registered function"),
            "operator",
            "com.acme:Op",
        ),
        (RuntimeError("Could not find an implementation for Det(11) node"), "operator", "Det"),
        (RuntimeError("something\nelse"), "model", None),
    ],
)
def test_what_onnx_runtime_says_is_understood(error: Exception, kind: str, operator: str | None) -> None:
    answer = fault_of(error, "digest").answer
    assert (answer["error"], answer["operator"], answer["model"]) == (kind, operator, "digest")
    assert answer["message"]
    assert "\n" not in answer["message"]
