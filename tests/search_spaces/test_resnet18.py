from __future__ import annotations

from functools import partial

import torch

from nas.supernet import Supernet, elastic_module
from nas.tasks import Classification
from nas.testing import check_network
from search_spaces.resnet18 import plain_resnet18, resnet18


def test_the_contract_is_kept() -> None:
    check_network(
        partial(resnet18, classes=5, channels=1, resolution=16), (1, 16, 16), Classification(5), num_random=1
    )


def test_weights_of_a_trained_network_fit_the_elastic_one() -> None:
    torch.manual_seed(0)
    trained = plain_resnet18(5, 1).eval()
    weights = elastic_module(trained, torch.zeros(2, 1, 16, 16)).state_dict()
    supernet = Supernet(resnet18(5, 1, 16)).eval()
    supernet.module.load_state_dict(weights)
    images = torch.randn(3, 1, 16, 16)
    with torch.no_grad():
        assert torch.allclose(supernet(images), trained(images), atol=1e-4)
