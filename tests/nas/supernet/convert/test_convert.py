from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.errors import ConversionError
from nas.evaluation import NetworkCounter
from nas.evaluation.counts import count_macs, count_params
from nas.inputs import InputSpec
from nas.space import Condition
from nas.supernet import Supernet, elastic_module, recalibrate


class Joined(nn.Module):
    """Concatenation, a layer that is used twice, a depthwise layer, functional skips."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.same = nn.Conv2d(16, 16, 3, padding=1)
        self.side = nn.Conv2d(16, 24, 3, padding=1)
        self.shared = nn.Conv2d(40, 40, 3, padding=1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(40), nn.BatchNorm2d(40)])
        self.depthwise = nn.Conv2d(56, 56, 3, padding=1, groups=56)
        self.joined_norm = nn.BatchNorm2d(56)
        self.hidden = nn.Linear(56 * 4, 40)
        self.head = nn.Linear(40, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.stem(images))
        x = x + F.relu(self.same(x))
        y = torch.cat([self.side(x), x], 1)
        z = F.relu(self.norms[0](self.shared(y)))
        z = z + self.norms[1](self.shared(z))
        z = F.relu(self.joined_norm(self.depthwise(torch.cat([z, x], 1))))
        return self.head(F.relu(self.hidden(F.adaptive_avg_pool2d(z, 2).flatten(1))))


class Block(nn.Module):
    def __init__(self, width: int, out: int | None = None) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(width, 24, 1), nn.ReLU(), nn.Conv2d(24, out or width, 1))
        self.skip = nn.Conv2d(width, out, 1) if out else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        return F.relu(self.skip(images) + self.body(images))


def rows_of_blocks() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3),
        nn.ReLU(),
        nn.Sequential(Block(16), Block(16), Block(16), Block(16)),
        nn.Sequential(Block(16, 32), Block(32)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 5),
    )


class Text(nn.Module):
    """Torch's own encoder layers, fused in evaluation unless kept from it; a padding mask."""

    def __init__(self, *, norm_first: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(32, 5)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(ids), src_key_padding_mask=ids == 0).mean(1))


class Awkward(nn.Module):
    """What can't be cut, each in its own way."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 32, 1)
        self.grouped_norm = nn.GroupNorm(4, 32)
        self.split = nn.Conv2d(32, 64, 1)
        self.left, self.right = nn.Conv2d(32, 16, 1), nn.Conv2d(32, 16, 1)
        self.shuffled = nn.Conv2d(16, 64, 1)
        self.after = nn.Conv2d(16, 48, 1)
        self.scale = nn.Parameter(torch.ones(1, 48, 1, 1))
        self.grouped = nn.Conv2d(48, 48, 1, groups=4)
        self.viewed = nn.Conv2d(48, 32, 1)
        self.sliced = nn.Conv2d(32, 32, 1)
        self.tied = nn.Linear(16, 16)
        self.tied_too = nn.Linear(16, 16)
        self.tied_too.weight = self.tied.weight
        self.fine = nn.Linear(16, 64)
        self.head = nn.Linear(64, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = self.grouped_norm(self.first(images))
        left, right = self.split(x).chunk(2, 1)
        x = F.pixel_shuffle(self.shuffled(self.left(left) * torch.sigmoid(self.right(right))), 2)
        x = self.grouped(self.after(x) * self.scale)
        x = self.viewed(x)
        mixed = x.view(-1, 4, x.shape[1] // 4, *x.shape[2:]).transpose(1, 2).reshape(x.shape)
        x = x * mixed
        x = self.sliced(x)
        x = (x[:, :16] * x[:, 16:]).mean((2, 3))
        return self.head(F.relu(self.fine(self.tied_too(F.relu(self.tied(x))))))


class Bilinear(nn.Module):
    """A reshape that the dependency graph takes for one that multiplies channels, again and again."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 16, 1)
        self.hidden, self.head = nn.Linear(8 * 16, 32), nn.Linear(32, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = torch.einsum("bchw,bdhw->bcd", self.left(images), self.right(images)).flatten(1)
        return self.head(F.relu(self.hidden(x)))


class Halves(nn.Module):
    """Two layers each get a half of the channels, which must therefore be equal in number."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.split = nn.Conv2d(3, 32, 1), nn.Conv2d(32, 32, 1)
        self.left, self.right = nn.Conv2d(16, 32, 1), nn.Conv2d(16, 48, 1)
        self.head = nn.Linear(80, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.split(F.relu(self.stem(images))))
        half = x.shape[1] // 2
        return self.head(torch.cat([self.left(x[:, :half]), self.right(x[:, half:])], 1).mean((2, 3)))


class Recurrent(nn.Module):
    """A recurrent layer before attention; an output that holds more."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.recurrent = nn.Linear(8, 32), nn.GRU(32, 32, batch_first=True)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> dict[str, object]:
        x = self.encoder(self.recurrent(self.embed(x))[0])
        return {"features": x, "classes": x.argmax(-1), "count": len(x)}


class More(nn.Sequential):
    """An output with something that is no tensor."""

    def forward(self, x: Tensor) -> tuple[Tensor, None, int]:  # type: ignore[override]
        return super().forward(x), None, 3


class InPlace(nn.Module):
    """No skip, but the output stands where the input was."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(16, 16, 1), nn.ReLU(), nn.Conv2d(16, 16, 1))

    def forward(self, images: Tensor) -> Tensor:
        return images.zero_().add_(1).mul_(self.body(images.clone()))


class Single(nn.Module):
    """Casts to single precision itself; the order of its channels matters a little."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(4, 32), nn.Linear(32, 32), nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        x = x.float() + 1e-4 * torch.arange(x.shape[1]) / x.shape[1]
        return self.last(F.relu(self.middle(x)))


IMAGES = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
IDS = torch.tensor([[1, 2, 3, 4, 0, 0], [5, 6, 7, 8, 9, 1]])
MODELS = {
    "joined": (Joined, IMAGES),
    "rows": (rows_of_blocks, IMAGES),
    "text": (Text, IDS),
    "awkward": (Awkward, IMAGES),
}


def unlike(model: nn.Module) -> nn.Module:
    """Give every parameter and statistic a value of its own, so that no mistake cancels out."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                tensor.add_(0.1 * torch.rand(tensor.shape, generator=generator))
    return model


@pytest.mark.parametrize("name", MODELS)
def test_the_whole_network_computes_what_it_did_and_the_rest_is_extracted_exactly(name: str) -> None:
    make, example = MODELS[name]
    model = unlike(make()).eval()
    supernet = Supernet.from_module(model, example)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        torch.testing.assert_close(supernet(example), model(example), rtol=1e-5, atol=1e-5)
        for architecture in [supernet.space.smallest(), *(supernet.space.sample(rng) for _ in range(50))]:
            plain = supernet.extract(architecture)
            with supernet.active(architecture):
                assert (supernet(example) - plain(example)).abs().max() <= 1e-5


def test_the_model_that_was_given_is_not_changed() -> None:
    model = unlike(Joined()).train()
    model.norms[1].eval()
    before, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    supernet = Supernet.from_module(model, IMAGES)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    assert [m.training for m in model.modules()] == modes
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert supernet.training


def test_concatenated_and_shared_layers_are_elastic() -> None:
    supernet = Supernet.from_module(Joined(), IMAGES)
    report = supernet.report
    assert report is not None
    assert {c.name for c in supernet.space.choices} == {"stem.width", "side.width", "hidden.width"}
    assert report["shared"].choices == report["depthwise"].choices
    assert set(report["depthwise"].choices) == {"stem.width", "side.width"}
    plain = supernet.extract(
        supernet.space.architecture({"stem.width": 8, "side.width": 16, "hidden.width": 8})
    )
    assert type(plain) is Joined
    assert plain.shared.weight.shape == (24, 24, 3, 3)
    assert plain.depthwise.groups == plain.depthwise.in_channels == 24 + 8
    assert plain.hidden.in_features == (24 + 8) * 4
    assert {type(m).__module__.partition(".")[0] for m in plain.modules() if not any(m.children())} == {
        "torch"
    }


def test_rows_of_residual_blocks_lose_their_last_ones() -> None:
    supernet = Supernet.from_module(unlike(rows_of_blocks()), IMAGES)
    assert supernet.space["2.depth"].options == (2, 3, 4)
    assert supernet.space["3.depth"].options == (0, 1)
    assert supernet.space.conditions["2.3.body.0.width"] == ((Condition("2.depth", (4,)),),)
    short = supernet.space.architecture({**supernet.space.largest(), "2.depth": 2})
    plain = supernet.extract(short).eval()
    assert [type(m) for m in plain[2]] == [Block, Block, nn.Identity, nn.Identity]  # type: ignore[union-attr]
    report = supernet.report
    assert report is not None
    assert "changes the shape" in report["3.0"].reasons[0]


def test_a_block_that_overwrites_its_input_has_no_skip() -> None:
    model = nn.Sequential(nn.Conv2d(3, 16, 1), nn.Sigmoid(), InPlace(), InPlace(), nn.Conv2d(16, 5, 1))
    report = Supernet.from_module(model, IMAGES).report
    assert report is not None
    assert "no skip connection" in report["2"].reasons[0]


def test_attention_loses_whole_heads() -> None:
    supernet = Supernet.from_module(Text(), IDS)
    assert supernet.space["encoder.layers.0.self_attn.heads"].options == (1, 2, 3, 4)
    assert supernet.space["encoder.layers.depth"].options == (1, 2, 3)
    smallest = supernet.extract(supernet.space.smallest())
    assert smallest.encoder.layers[0].self_attn.query.weight.shape == (8, 8)  # type: ignore[union-attr]


@pytest.mark.parametrize("norm_first", [True, False])
def test_torchs_encoder_is_never_fused_with_whole_weights(norm_first: bool) -> None:
    model = unlike(Text(norm_first=norm_first)).eval()
    supernet = Supernet.from_module(model, IDS).eval()
    narrow = supernet.space.architecture({**supernet.space.largest(), "encoder.layers.0.linear1.width": 16})
    with torch.no_grad(), supernet.active(narrow):
        unfused = supernet(IDS)
    with supernet.active(narrow):
        torch.testing.assert_close(supernet(IDS), unfused)
    assert (unfused - model(IDS)).abs().max() > 1e-3


def test_what_cannot_be_cut_stays_fixed_and_says_why() -> None:
    report = Supernet.from_module(Awkward(), IMAGES).report
    assert report is not None
    reasons = {row.path: " ".join(row.reasons) for row in report.rows}
    assert "network's input" in reasons["first"]
    assert "can only be left out together" in reasons["viewed"]
    assert "doesn't run" in reasons["sliced"]
    assert "output of the network" in reasons["head"]
    assert report["fine"].choices == ("fine.width",)
    assert {row.path for row in report.rows if row.choices} >= {
        *("first", "grouped_norm", "left", "right", "shuffled", "after", "", "grouped", "fine", "head")
    }


def test_channels_that_are_rearranged_without_end_stay_fixed() -> None:
    report = Supernet.from_module(Bilinear(), IMAGES).report
    assert report is not None
    assert "rearranged too often" in " ".join(report["left"].reasons)
    assert report["hidden"].choices == ("hidden.width",)


def test_widths_that_must_be_equal_are_one_choice() -> None:
    supernet = Supernet.from_module(Halves(), IMAGES)
    names = {"stem.width", "split.width", "left.width", "right.width"}
    assert {c.name for c in supernet.space.choices} == names
    assert supernet.space["split.width"].options == (8, 16)


class Named(Text):
    """Called with names, one of them nested, as tokenizers give them."""

    def forward(self, ids: Tensor, masks: dict[str, Tensor] | None = None, *, scale: float = 0.5) -> Tensor:  # type: ignore[override]
        padding = ids == 0 if masks is None else masks["padding"]
        return scale * self.head(self.encoder(self.embed(ids), src_key_padding_mask=padding).mean(1))


def test_arguments_may_have_names() -> None:
    model = unlike(Named()).eval()
    example = {"ids": IDS, "masks": {"padding": IDS == 0}, "scale": 2.0}
    supernet = Supernet.from_module(model, example)
    assert {c.name for c in supernet.space.choices} == {
        c.name for c in Supernet.from_module(Text(), IDS).space.choices
    }
    torch.testing.assert_close(supernet(**example), model(**example))
    torch.testing.assert_close(supernet(IDS, scale=1.0), model(IDS, scale=1.0))
    smallest = supernet.space.smallest()
    with supernet.active(smallest):
        torch.testing.assert_close(supernet(**example), supernet.extract(smallest)(**example))


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Linear(4, 32), nn.PReLU(), nn.Linear(32, 5)),
        nn.Sequential(nn.Linear(4, 32), nn.LayerNorm(32, elementwise_affine=False), nn.Linear(32, 5)),
        More(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 5)),
    ],
)
def test_layers_without_weights_per_channel_and_any_output_are_followed(model: nn.Sequential) -> None:
    supernet = Supernet.from_module(model, torch.randn(3, 4))
    assert [c.name for c in supernet.space.choices] == ["0.width"]
    smallest = supernet.extract(supernet.space.smallest())
    assert smallest[0].out_features == smallest[2].in_features == 8  # type: ignore[index]


def test_what_stands_around_a_recurrent_layer_is_elastic() -> None:
    supernet = Supernet.from_module(Recurrent(), torch.randn(2, 6, 8))
    assert {c.name.rpartition(".")[2] for c in supernet.space.choices} == {"heads", "depth", "width"}
    assert supernet.space["embed.width"].options == (8, 16, 24, 32)


def test_small_changes_show_in_single_precision() -> None:
    supernet = Supernet.from_module(Single(), torch.randn(2, 4))
    assert [c.name for c in supernet.space.choices] == ["middle.width"]


def test_the_first_channels_are_the_best() -> None:
    model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3))
    with torch.no_grad():
        model[0].weight[:8] *= 0.01
        model[0].bias[:8] *= 0.01
        model[2].weight[:, :8] *= 0.01
    supernet = Supernet.from_module(model, torch.randn(2, 4))
    kept = supernet.extract(supernet.space.architecture({"0.width": 24}))
    inputs = torch.randn(20, 4)
    assert (kept(inputs) - model(inputs)).abs().max() < 1e-3


def test_kept_modules_are_left_alone_and_choices_can_be_few() -> None:
    kept = Supernet.from_module(Joined(), IMAGES, keep=["side"])
    assert {c.name for c in kept.space.choices} == {"hidden.width"}
    few = Supernet.from_module(Joined(), IMAGES, max_choices=1, ratios=(0.5,), multiple_of=4)
    assert [c.options for c in few.space.choices] in ([(8, 16)], [(12, 24)], [(20, 40)])
    assert few.report is not None
    assert any("max_choices is 1" in reason for row in few.report.rows for reason in row.reasons)


@pytest.mark.parametrize("name", MODELS)
def test_costs_are_tabulated_exactly(name: str) -> None:
    make, example = MODELS[name]
    supernet = Supernet.from_module(make(), example).eval()
    shape = tuple(example.shape[1:])
    counter = NetworkCounter(supernet, InputSpec.of_one(shape, example.dtype))
    assert counter.tables is not None
    rows = supernet.space.sample_indices(8, np.random.default_rng(0))
    counts = counter.counts(rows)
    for row, architecture in enumerate(supernet.space.from_indices(rows)):
        plain = supernet.extract(architecture)
        assert counts.macs[row] == count_macs(plain, InputSpec.of_one(shape, example.dtype))
        assert counts.num_params[row] == count_params(plain)


def test_norms_of_concatenations_learn_their_statistics() -> None:
    supernet = Supernet.from_module(unlike(Joined()), IMAGES)
    for architecture in (supernet.space.smallest(), supernet.space.largest()):
        plain = supernet.extract(architecture)
        with supernet.active(architecture):
            recalibrate(supernet, [IMAGES, IMAGES + 1])
            again = supernet.extract(architecture)
        recalibrate(plain, [IMAGES, IMAGES + 1])
        torch.testing.assert_close(again.joined_norm.running_var, plain.joined_norm.running_var)
        torch.testing.assert_close(again.joined_norm.running_mean, plain.joined_norm.running_mean)


def test_hooks_on_what_was_extracted_stay_there() -> None:
    model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3))
    supernet = Supernet.from_module(model, torch.randn(2, 4))
    one, other = (supernet.extract(supernet.space.smallest()) for _ in range(2))
    seen: list[nn.Module] = []
    one[0].register_forward_hook(lambda module, _given, _made: seen.append(module))  # type: ignore[index]
    for network in (supernet, other, one):
        network(torch.randn(2, 4))
    assert seen == [one[0]]  # type: ignore[index]


def test_gradients_reach_the_active_weights_alone() -> None:
    supernet = Supernet.from_module(Joined(), IMAGES)
    with supernet.active(supernet.space.smallest()):
        supernet(IMAGES).sum().backward()
    gradients = dict(supernet.module.module.named_parameters())  # type: ignore[union-attr]
    weight = gradients["side.weight"].grad
    assert weight is not None
    assert weight[:8].abs().sum() > 0
    assert weight[8:].abs().sum() == 0


def test_conversion_is_the_same_each_time_and_draws_no_random_numbers() -> None:
    state = torch.get_rng_state()
    one, other = (elastic_module(unlike(build()), IMAGES) for build in (copy_of_joined, copy_of_joined))
    assert torch.equal(torch.get_rng_state(), state)
    assert str(one.report) == str(other.report)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def copy_of_joined() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return Joined()


class Cumulated(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.cumsum(1)


class Detached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 32)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).detach()


class Nothing(nn.Module):
    def forward(self, x: Tensor) -> str:
        return "nothing"


class Chance(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 32), nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.dropout(self.first(x), 0.5, True))


class Once(Chance):
    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "state"):
            self.state = torch.zeros(3)
            return self.last(self.first(x))
        return self.last(self.first(x) + self.state)


@pytest.mark.parametrize(
    ("model", "example", "said"),
    [
        (Chance(), torch.randn(2, 4), "depends on chance or on earlier calls"),
        (Once(), torch.randn(2, 4), "depends on chance or on earlier calls"),
        (
            nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 5)),
            torch.randn(2, 4),
            "no smaller multiple of 8.*: use smaller",
        ),
        (
            nn.Sequential(nn.Conv2d(3, 16, 1), nn.GroupNorm(2, 16), Cumulated(), nn.Conv2d(16, 3, 1)),
            IMAGES,
            r"\(their order matters to cumsum\): docs",
        ),
        (Detached(), torch.randn(2, 4), "output of the network"),
        (Joined(), torch.randn(2, 4, 6, 6), r"doesn't run on the example input of shape \(2, 4, 6, 6\)"),
        (
            nn.Sequential(nn.Conv2d(3, 16, 7), nn.Conv2d(16, 16, 7)),
            torch.randn(2, 3, 8, 8),
            "large enough for its depth",
        ),
        (Joined(), "image.png", "example input is str"),
        (Joined(), {"images": 3}, "example input is dict and holds no tensor"),
        (Joined(), {3: IMAGES}, "dictionary of its keyword arguments"),
        (Joined(), {"images": IMAGES[:, :2]}, r"doesn't run on the example input of shape \(2, 2, 6, 6\)"),
        (Nothing(), torch.randn(2, 3), "no tensor"),
        (nn.Sequential(nn.Linear(4, 4)), torch.randn(2, 4), "nothing in Sequential can be made elastic"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(model: nn.Module, example: object, said: str) -> None:
    with pytest.raises(ConversionError, match=said):
        Supernet.from_module(model, example)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ratios": (0.5, 1.5)}, "ratios are"),
        ({"multiple_of": 0}, "multiple_of is 0"),
        ({"keep": ["nowhere"]}, "'nowhere', which is no module of Joined"),
        ({"keep": "stem"}, "'stem'"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConversionError, match=said):
        Supernet.from_module(Joined(), IMAGES, **settings)  # type: ignore[arg-type]


class Assisted(nn.Module):
    """A network with something at its first width that runs in training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 24, 3, padding=1), nn.Conv2d(24, 32, 3, padding=1)
        self.last = nn.Linear(32, 5)
        self.bias = nn.Parameter(torch.zeros(24, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        if self.training:
            x = x + self.bias[: len(self.first.weight)].view(1, 24, 1, 1)
        return self.last(self.second(x.relu()).relu().mean((2, 3)))


def test_a_width_that_only_training_needs_stays_fixed() -> None:
    images = torch.randn(2, 3, 8, 8)
    supernet = Supernet.from_module(Assisted(), images)
    assert supernet.report is not None
    assert supernet.report["first"].reasons
    assert [c.name for c in supernet.space.choices] == ["second.width"]
    with supernet.active(supernet.space.smallest()):
        supernet.train()(images)
