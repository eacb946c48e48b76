from __future__ import annotations

import copy

import torch
from torch import nn

from nas.supernet.copying import copy_module


def tied() -> nn.Module:
    inner = nn.Linear(3, 3)
    network = nn.Sequential(inner, nn.ReLU(), inner, nn.BatchNorm1d(3))
    network[3].register_forward_hook(lambda *_: None)
    network.note = {"kept": [1]}  # type: ignore[assignment]
    return network


def test_a_copy_is_that_of_deepcopy() -> None:
    network = tied()
    copied, known = copy_module(network), copy.deepcopy(network)
    assert copied.state_dict().keys() == known.state_dict().keys()
    assert all(
        torch.equal(one, other) for one, other in zip(copied.parameters(), known.parameters(), strict=True)
    )
    assert copied[0] is copied[2]  # type: ignore[index]
    assert copied.note == {"kept": [1]}
    assert len(copied[3]._forward_hooks) == 1  # type: ignore[index]


def test_what_is_done_to_a_copy_is_not_done_to_the_original() -> None:
    network = tied()
    copied = copy_module(network)
    copied.register_forward_hook(lambda *_: None)
    copied[0].register_buffer("more", torch.ones(1))  # type: ignore[index]
    copied[0].weight.data.zero_()  # type: ignore[index]
    copied.note["kept"].append(2)  # type: ignore[operator, index]
    assert not network._forward_hooks
    assert "0.more" not in network.state_dict()
    assert network[0].weight.any()  # type: ignore[index]
    assert network.note == {"kept": [1]}
    for one, other in zip(network.modules(), copied.modules(), strict=True):
        for name, value in vars(one).items():
            if isinstance(value, dict):
                assert vars(other)[name] is not value


def test_a_memo_is_that_of_deepcopy() -> None:
    network, shared = tied(), nn.Linear(3, 3)
    network.append(shared)  # type: ignore[operator]
    copied = copy_module(network, {id(shared): shared})
    assert copied[4] is shared  # type: ignore[index]
