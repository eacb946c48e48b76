from __future__ import annotations

import pytest

from nas.service.devices import fault_of


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("foo", "is not valid"),
        ("cuda:4096", "isn't there"),
        ("meta", "isn't there"),
        ("", "is not valid"),
        ("cpu:0", None),
        ("ray:10.0.0.1", "is not valid"),
        ("ray:10.0.0.1:6379", None),
        ("ray:auto", None),
        ("cuda:4096@ray:auto", "isn't there"),
    ],
)
def test_what_is_wrong_with_a_device(name: str, told: str | None) -> None:
    fault = fault_of(name)
    assert fault is None if told is None else f"device {name!r} {told}" in str(fault)
