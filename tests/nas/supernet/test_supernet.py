from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from fakes import tiny_network
from torch import Tensor, nn

from nas.choices import choice
from nas.errors import NasError, ShapeError, SpaceError
from nas.space import Condition
from nas.supernet import Supernet, elastic, recalibrate
from nas.tasks import Classification
from search_spaces.convnet import convnet


class Scaled(nn.Module):
    """A user's own module with choices as plain attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = choice("factor", 1, 2, 3)
        self.mode = choice("mode", "add", "multiply")
        self.doubled = self.factor * 2
        self.offset = nn.Parameter(torch.tensor(10.0))

    def forward(self, inputs: Tensor) -> Tensor:
        scaled = inputs * self.factor + self.doubled
        return scaled + self.offset if self.mode == "add" else scaled * self.offset


def conv(width: object, name: str) -> nn.Module:
    return elastic.Conv2d(width, width, choice(f"{name}.kernel", 1, 3), padding="same")  # type: ignore[arg-type]


def nested_network() -> nn.Module:
    """A stage of 1 or 2 rows, each of 0 to 2 convolutions."""

    def row(i: int) -> nn.Module:
        return elastic.Repeat(lambda j: conv(4, f"row{i}.{j}"), times=choice(f"row{i}.depth", 0, 1, 2))

    return nn.Sequential(elastic.Repeat(row, times=choice("rows", 1, 2)), nn.Flatten())


def test_the_space_is_what_the_modules_hold() -> None:
    space = Supernet(tiny_network()).space
    assert {c.name: c.options for c in space.choices} == {
        "width": (2, 4, 8),
        "kernel": (3, 5),
        "depth": (0, 1, 2),
        "0.kernel": (1, 3),
        "1.kernel": (1, 3),
    }
    assert space.conditions == {
        "0.kernel": ((Condition("depth", (1, 2)),),),
        "1.kernel": ((Condition("depth", (2,)),),),
    }
    assert space.cardinality() == 3 * 2 * (1 + 2 + 4)


def test_nested_repeats_condition_on_all_their_depths() -> None:
    space = Supernet(nested_network()).space
    assert space.conditions["row1.depth"] == ((Condition("rows", (2,)),),)
    assert space.conditions["row1.1.kernel"] == ((Condition("rows", (2,)), Condition("row1.depth", (2,))),)
    assert space.conditions["row0.0.kernel"] == ((Condition("row0.depth", (1, 2)),),)
    assert space.cardinality() == 7 + 7 * 7


def test_a_choice_used_inside_and_outside_a_repeat_always_matters() -> None:
    width = choice("width", 2, 4)
    network = nn.Sequential(
        elastic.Repeat(lambda i: conv(width, f"{i}"), times=choice("d", 0, 1)), conv(width, "last")
    )
    space = Supernet(network).space
    assert "width" not in space.conditions
    assert "0.kernel" in space.conditions


def test_a_choice_of_two_repeats_matters_when_either_uses_it() -> None:
    kernel = choice("kernel", 1, 3)
    network = nn.Sequential(
        *(
            elastic.Repeat(lambda _: elastic.Conv2d(2, 2, kernel, padding="same"), times=choice(name, 0, 1))
            for name in ("a", "b")
        )
    )
    space = Supernet(network).space
    assert set(space.conditions["kernel"]) == {(Condition("a", (1,)),), (Condition("b", (1,)),)}
    assert space.cardinality() == 1 + 3 * 2


def test_a_shared_module_stays_shared_and_matters_when_any_place_uses_it() -> None:
    block = conv(2, "shared")
    supernet = Supernet(
        nn.Sequential(
            elastic.Repeat(lambda _: block, times=choice("a", 0, 2)), elastic.Linear(4, choice("w", 1, 2))
        )
    )
    assert supernet.space.cardinality() == 2 * (1 + 2)
    plain = supernet.extract(supernet.space.largest())
    assert plain[0][0] is plain[0][1]  # type: ignore[index]


def test_a_repeat_shared_with_a_repeat_is_extracted_plain() -> None:
    inner = elastic.Repeat(lambda i: conv(2, f"inner{i}"), times=choice("inner", 1, 2))
    supernet = Supernet(nn.Sequential(inner, elastic.Repeat(lambda _: inner, times=choice("outer", 0, 1))))
    images = torch.randn(2, 2, 6, 6)
    for architecture in (supernet.space.largest(), supernet.space.smallest()):
        plain = supernet.extract(architecture)
        assert not [m for m in plain.modules() if isinstance(m, elastic.Repeat)]
        with supernet.active(architecture):
            assert torch.equal(supernet(images), plain(images))


def test_one_name_means_one_choice() -> None:
    network = nn.Sequential(elastic.Linear(4, choice("w", 2, 4)), elastic.Linear(4, choice("w", 2, 8)))
    with pytest.raises(SpaceError, match=r"'w' is used with the options \(2, 4\).*'1'.*\(2, 8\)"):
        Supernet(network)


def test_options_of_another_type_are_another_choice() -> None:
    class Holds(nn.Module):
        def __init__(self, *options: object) -> None:
            super().__init__()
            self.value = choice("value", *options)  # type: ignore[arg-type]

    with pytest.raises(SpaceError, match="one name must mean one choice"):
        Supernet(nn.Sequential(Holds(0, 1), Holds(False, True)))


def test_a_module_without_choices_is_refused() -> None:
    with pytest.raises(SpaceError, match="no choices"):
        Supernet(nn.Sequential(nn.Linear(2, 2)))


def test_a_users_module_computes_with_its_active_options() -> None:
    supernet = Supernet(nn.Sequential(Scaled()))
    assert {c.name for c in supernet.space.choices} == {"factor", "mode"}
    for factor in (1, 2, 3):
        for mode, expected in (("add", 3.0 * factor + 10), ("multiply", 30.0 * factor)):
            architecture = supernet.space.architecture({"factor": factor, "mode": mode})
            plain = supernet.extract(architecture)
            with supernet.active(architecture):
                assert supernet(torch.tensor(1.0)).item() == expected
            assert plain(torch.tensor(1.0)).item() == expected
            assert type(plain[0].factor) is int  # type: ignore[index]
            assert type(plain[0].doubled) is int  # type: ignore[index]


def test_the_largest_architecture_is_active_at_first() -> None:
    supernet = Supernet(tiny_network())
    assert supernet.architecture == supernet.space.largest()


def test_the_previous_architecture_is_active_again_also_after_an_error() -> None:
    supernet = Supernet(tiny_network())
    small, large = supernet.space.smallest(), supernet.space.largest()
    images = torch.randn(4, 1, 8, 8)
    supernet.eval()
    before = supernet(images)

    def fail_inside() -> None:
        with supernet.active(large):
            assert supernet.architecture == large
            raise RuntimeError("stop")

    with supernet.active(small):
        with pytest.raises(RuntimeError, match="stop"):
            fail_inside()
        assert supernet.architecture == small
    assert supernet.architecture == large
    assert torch.equal(supernet(images), before)


def test_an_unknown_architecture_changes_nothing() -> None:
    supernet = Supernet(tiny_network())
    other = Supernet(nn.Sequential(Scaled())).space.largest()
    with pytest.raises(SpaceError), supernet.active(other):
        pass
    assert supernet.architecture == supernet.space.largest()


def test_an_active_subnet_is_views_of_the_shared_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    supernet = Supernet(tiny_network())
    used: list[Tensor] = []
    convolve = nn.functional.conv2d

    def spy(images: Tensor, weight: Tensor, *rest: object, **more: object) -> Tensor:
        used.append(weight)
        return convolve(images, weight, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("nas.supernet.elastic.convolution.F.conv2d", spy)
    with supernet.active(supernet.space.smallest()):
        supernet(torch.zeros(2, 1, 8, 8))
    storages = {p.untyped_storage().data_ptr() for p in supernet.parameters()}
    assert used
    assert all(weight.untyped_storage().data_ptr() in storages for weight in used)


def test_training_a_small_subnet_moves_the_large_ones_shared_weights() -> None:
    supernet = Supernet(nn.Sequential(elastic.Linear(2, choice("w", 1, 2), bias=False)))
    layer = supernet.module[0]  # type: ignore[index]
    before = layer.weight.detach().clone()
    with supernet.active(supernet.space.smallest()):
        supernet(torch.ones(1, 2)).sum().backward()
    layer.weight.data.sub_(layer.weight.grad)
    assert (layer.weight[0] != before[0]).all()
    assert torch.equal(layer.weight[1], before[1])


def test_extracted_weights_are_a_copy() -> None:
    supernet = Supernet(tiny_network())
    plain = supernet.extract(supernet.space.largest())
    storages = {p.untyped_storage().data_ptr() for p in supernet.parameters()}
    assert not storages & {p.untyped_storage().data_ptr() for p in plain.parameters()}
    images = torch.randn(4, 1, 8, 8)
    before = supernet.eval()(images)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.zero_()
    assert torch.equal(supernet(images), before)


@pytest.mark.parametrize("training", [True, False])
def test_an_extracted_subnet_has_the_supernets_mode(training: bool) -> None:
    supernet = Supernet(tiny_network()).train(training)
    plain = supernet.extract(supernet.space.smallest())
    assert {module.training for module in plain.modules()} == {training}


def test_extracted_equals_active_on_200_architectures_of_convnet() -> None:
    torch.manual_seed(0)
    supernet = Supernet(convnet(classes=10, channels=1, resolution=8)).eval()
    images = torch.randn(32, 1, 8, 8)
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(200):
        architecture = supernet.space.sample(rng)
        seen.add(architecture.id)
        plain = supernet.extract(architecture)
        recalibrate(plain, [images])
        with torch.no_grad(), supernet.active(architecture):
            recalibrate(supernet, [images])
            gap = (supernet(images) - plain(images)).abs().max().item()
        assert gap <= 1e-5, architecture
    assert len(seen) == 200


def test_an_extracted_convnet_computes_with_torchs_layers_alone() -> None:
    supernet = Supernet(convnet(classes=10, channels=1, resolution=8))
    rng = np.random.default_rng(0)
    for _ in range(20):
        plain = supernet.extract(supernet.space.sample(rng))
        with_weights = [m for m in plain.modules() if any(True for _ in m.parameters(recurse=False))]
        assert {type(m) for m in with_weights} == {nn.Conv2d, nn.BatchNorm2d, nn.Linear}
        assert not [m for m in plain.modules() if type(m).__module__.startswith("nas.")]


def test_probes_use_every_option() -> None:
    supernet = Supernet(convnet(classes=10, channels=1, resolution=8))
    used = {(name, option) for architecture in supernet.probes() for name, option in architecture.items()}
    assert used == {(c.name, option) for c in supernet.space.choices for option in c.options}


def long_network(count: int, mismatch: int = -1) -> nn.Module:
    widths = [choice(f"w{number}", 2, 4, 8) for number in range(count)]
    layers = [elastic.Linear(before, after) for before, after in pairwise([4, *widths, 3])]
    if mismatch >= 0:
        layers[mismatch + 1] = elastic.Linear(8, choice(f"w{mismatch + 1}", 2, 4, 8))
    return nn.Sequential(nn.Flatten(), *layers)


def test_probes_of_many_choices_are_few_and_use_every_option() -> None:
    supernet = Supernet(
        nn.Sequential(long_network(80), elastic.Repeat(lambda i: nn.ReLU(), choice("depth", *range(60))))
    )
    probes = supernet.probes()
    used = {(name, option) for architecture in probes for name, option in architecture.items()}
    assert {(c.name, option) for c in supernet.space.choices[:-1] for option in c.options} <= used
    depths = sorted(option for name, option in used if name == "depth")
    assert (depths[0], depths[-1]) == (0, 59)
    assert len(depths) == 16
    assert len(probes) <= 2 + 16


def test_check_shapes_names_the_choice_among_many() -> None:
    with pytest.raises(ShapeError, match=r"where choice 'w7' is \d \(with 8 it fits\): module '9' says"):
        Supernet(long_network(80, mismatch=7)).check_shapes(
            (4,), Classification(3), torch.zeros(1, dtype=torch.int64)
        )


def test_shapes_that_fit_are_accepted_and_weights_left_alone() -> None:
    supernet = Supernet(tiny_network())
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    supernet.check_shapes((1, 8, 8), Classification(10))
    after = supernet.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert {p.device.type for p in supernet.parameters()} == {"cpu"}


def test_check_shapes_names_the_choice_and_the_module() -> None:
    width = choice("body.width", 4, 8)
    network = nn.Sequential(
        elastic.Conv2d(3, width, 3),
        nn.BatchNorm2d(8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        elastic.Linear(width, 2),
    )
    with pytest.raises(ShapeError, match=r"'body\.width' is 4 \(with 8 it fits\): module '1' says"):
        Supernet(network).check_shapes((3, 8, 8), Classification(2))


def test_check_shapes_names_one_choice_of_several() -> None:
    class Crop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.size = choice("crop", 6, 4, 8)

        def forward(self, images: Tensor) -> Tensor:
            return images[..., : self.size, : self.size]

    network = nn.Sequential(
        elastic.Conv2d(1, choice("width", 2, 4), 1),
        Crop(),
        nn.Flatten(),
        elastic.Linear(choice("width", 2, 4) * 64, 3),
    )
    with pytest.raises(ShapeError, match=r"choice 'crop' is \d \(with 8 it fits\)"):
        Supernet(network).check_shapes((1, 8, 8), Classification(3))


def test_check_shapes_tells_the_number_of_classes() -> None:
    with pytest.raises(ShapeError, match=r"\(1, 10\) and \(1, 7\) is expected"):
        Supernet(tiny_network(classes=10)).check_shapes(
            (1, 8, 8), Classification(7), torch.zeros(1, dtype=torch.int64)
        )


def test_check_shapes_tells_the_wrong_channels_and_blames_no_choice() -> None:
    with pytest.raises(ShapeError, match=r"\(3, 8, 8\).*no single choice is to blame") as caught:
        Supernet(tiny_network(channels=1)).check_shapes(
            (3, 8, 8), Classification(10), torch.zeros(1, dtype=torch.int64)
        )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("training", [True, False])
def test_check_shapes_keeps_mode_statistics_and_architecture(training: bool) -> None:
    supernet = Supernet(tiny_network()).train(training)
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    with pytest.raises(ShapeError):
        supernet.check_shapes((1, 8, 8), Classification(7))
    supernet.check_shapes((1, 8, 8), Classification(10))
    assert supernet.training == training
    assert supernet.architecture == supernet.space.largest()
    assert all(torch.equal(before[name], value) for name, value in supernet.state_dict().items())


class Returns(nn.Module):
    """Returns something that is no tensor of logits."""

    def __init__(self, what: object) -> None:
        super().__init__()
        self.body = elastic.Linear(4, choice("w", 2, 4))
        self.what = what

    def forward(self, images: Tensor) -> object:
        self.body(images)
        if isinstance(self.what, Exception):
            raise self.what
        return self.what


@pytest.mark.parametrize("what", [(torch.zeros(1, 2), torch.zeros(1)), {"logits": 1}, None, KeyError("relu")])
def test_check_shapes_tells_an_output_that_is_no_tensor(what: object) -> None:
    with pytest.raises(NasError):
        Supernet(Returns(what)).check_shapes((1, 1, 4), Classification(2))


@pytest.mark.parametrize("root", [partial(tiny_network), nested_network])
def test_a_supernet_survives_being_saved_and_loaded(root: object) -> None:
    torch.manual_seed(0)
    one, other = Supernet(root()).eval(), Supernet(root()).eval()  # type: ignore[operator]
    other.load_state_dict(one.state_dict())
    images = torch.randn(3, 1 if root is not nested_network else 4, 8, 8)
    for architecture in (one.space.smallest(), one.space.largest()):
        with one.active(architecture), other.active(architecture):
            assert torch.equal(one(images), other(images))
