from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from nas.compression.onnx_int8 import quantize
from nas.errors import EvaluationError, StudyError
from nas.evaluation import ExpectedFlops, SubnetCandidate
from nas.evaluation.counts import count_macs
from nas.evaluation.expected import flops_by_item
from nas.evaluation.onnx_export import export_onnx
from nas.objectives import Bench
from nas.splits import Split
from nas.supernet import Supernet
from nas.testing import check_measured_objective
from search_spaces.convnet import convnet
from search_spaces.vision_transformer import vision_transformer


class Gated(nn.Module):
    """Rows whose first number is positive go through a layer of 6 x 4 weights, the others through none."""

    def __init__(self) -> None:
        super().__init__()
        self.large = nn.Linear(6, 4)

    def forward(self, rows: Tensor) -> Tensor:
        is_large = rows[..., 0] > 0
        outputs = rows[..., :4].clone()
        outputs[is_large] = self.large(rows[is_large])
        return outputs.sum(1)


def gated_rows(*numbers: int) -> Tensor:
    """Return items of five rows, of which so many are positive at first."""
    rows = -torch.ones(len(numbers), 5, 6)
    for item, number in zip(rows, numbers, strict=True):
        item[:number] = 1
    return rows


def test_the_contract_is_kept() -> None:
    check_measured_objective(ExpectedFlops(items=3))


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), (1, 8, 8)),
        (nn.Sequential(nn.Conv2d(4, 8, 3, stride=2, groups=2), nn.Conv2d(8, 3, 1)), (4, 9, 8)),
        (nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), (4, 5, 7)),
        (nn.Conv1d(3, 5, 3, padding=1), (3, 12)),
    ],
)
def test_where_all_items_cost_the_same_it_is_what_torch_counts(
    module: nn.Module, shape: tuple[int, ...]
) -> None:
    model = export_onnx(module.eval(), shape)
    assert flops_by_item(model, torch.randn(2, *shape)).tolist() == [2 * count_macs(module, shape)] * 2


@pytest.mark.parametrize("name", ["convnet", "vision_transformer"])
def test_networks_of_search_spaces_cost_what_torch_counts(name: str) -> None:
    make = {"convnet": convnet, "vision_transformer": vision_transformer}[name]
    supernet = Supernet(make(10, 1, 8))
    module = supernet.extract(supernet.space.smallest()).eval()
    found = flops_by_item(export_onnx(module, (1, 8, 8)), torch.randn(1, 1, 8, 8))
    assert found.tolist() == [2 * count_macs(module, (1, 8, 8))]


def test_an_item_costs_what_its_rows_need() -> None:
    items, layer = gated_rows(0, 1, 5), 2 * 6 * 4
    assert flops_by_item(export_onnx(Gated().eval(), (5, 6)), items).tolist() == [0, layer, 5 * layer]
    candidate = SubnetCandidate(Gated(), (5, 6))
    bench = Bench(Split(items, torch.zeros(3, dtype=torch.int64)), thorough=False, calibration={})
    (measured,) = ExpectedFlops().measure([candidate], bench)
    assert measured.value == 2 * layer
    assert measured.spread == pytest.approx(torch.tensor([0.0, 1, 5]).std().item() * layer / 3**0.5)
    assert measured.repeats == 3


def test_files_in_int8_are_counted_too() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
    plain = export_onnx(module, (1, 8, 8))
    int8 = quantize(plain, [torch.randn(16, 1, 8, 8)], reduce_range=True)
    assert flops_by_item(int8, torch.randn(1, 1, 8, 8)).tolist() == [1280]


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(6, 4, batch_first=True)

    def forward(self, rows: Tensor) -> Tensor:
        output: Tensor = self.layer(rows)[0][:, -1]
        return output


def test_wrong_use_is_said_in_a_sentence() -> None:
    with pytest.raises(StudyError, match="ExpectedFlops has items=0"):
        ExpectedFlops(items=0)
    with pytest.raises(EvaluationError, match=r"can't be counted from shapes: use nas\.Flops"):
        flops_by_item(export_onnx(Recurrent().eval(), (5, 6)), torch.randn(1, 5, 6))
