from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from fakes import edit_json, tiny_network
from torch import nn

import nas
from nas.errors import DamagedFileError, ExportError, NasError
from nas.export.folder import load_weights, save_weights
from nas.export.names import variant_file
from nas.study import network_reference


@pytest.fixture
def winner(cli_run: Path, tmp_path: Path) -> Path:
    """A copy of a winner's folder, to be changed."""
    source = next(path for path in (cli_run / "winners").iterdir() if path.is_dir())
    return Path(shutil.copytree(source, tmp_path / "winner"))


def test_a_winner_is_loaded_by_path_or_string(winner: Path) -> None:
    state = nas.load(winner).state_dict()
    assert all(torch.equal(state[name], value) for name, value in nas.load(str(winner)).state_dict().items())


def test_the_loaded_module_is_plain_torch_with_the_stored_weights(winner: Path) -> None:
    module = nas.load(winner)
    assert not [m for m in module.modules() if type(m).__module__.startswith("nas.")]
    stored = safetensors.torch.load_file(winner / "model.safetensors")
    state = module.state_dict()
    assert stored.keys() == state.keys()
    assert all(torch.equal(stored[name], state[name]) for name in state)


def test_a_folder_that_is_no_winners_is_a_sentence(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ExportError, match="name the folder of a winner"):
            nas.load(folder)


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 1000])
def test_damaged_weights_are_a_sentence(winner: Path, content: bytes) -> None:
    (winner / "model.safetensors").write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"model\.safetensors") as caught:
        nas.load(winner)
    assert "\n" not in str(caught.value)


def test_no_flipped_byte_is_loaded(winner: Path) -> None:
    path = winner / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"safetensors doesn't match its digest in architecture\.json"):
        nas.load(winner)


def test_no_other_choice_is_loaded(winner: Path) -> None:
    description = json.loads((winner / "architecture.json").read_text())
    description["id"] = "0" * 16
    (winner / "architecture.json").write_text(json.dumps(description))
    with pytest.raises(DamagedFileError, match=r"its choices are those of .* and its id is 0"):
        nas.load(winner)


def test_missing_weights_are_a_sentence(winner: Path) -> None:
    (winner / "model.safetensors").unlink()
    with pytest.raises(NasError):
        nas.load(winner)


def test_a_damaged_description_is_a_sentence(winner: Path) -> None:
    (winner / "architecture.json").write_text("{")
    with pytest.raises(DamagedFileError):
        nas.load(winner)


def test_nothing_is_imported_on_the_word_of_a_file(winner: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    description = json.loads((winner / "architecture.json").read_text())
    for factory in (
        "os:system",
        "fakes:tiny_network",
        "search_spaces_evil:f",
        "search_spaces.convnet:nn.Module",
    ):
        description["network"]["factory"] = factory
        (winner / "architecture.json").write_text(json.dumps(description))
        with pytest.raises(ExportError, match="network="):
            nas.load(winner)
    description["network"]["factory"] = "search_spaces.convnet:no_such_network"
    (winner / "architecture.json").write_text(json.dumps(description))
    with pytest.raises(ExportError, match="can't be imported"):
        nas.load(winner)


@pytest.mark.parametrize("content", ["def network(:\n", "1 / 0\n", "raise SystemExit(3)\n"])
def test_a_network_whose_file_is_broken_is_a_sentence(
    winner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    (tmp_path / "broken_spaces.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("NAS_SEARCH_SPACES", "broken_spaces")
    edit_json(
        winner / "architecture.json", lambda stored: stored["network"].update(factory="broken_spaces:f")
    )
    with pytest.raises(ExportError, match="can't be imported"):
        nas.load(winner)


def test_operators_trust_packages_of_their_own(tiny_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = next(path for path in (tiny_copy / "winners").iterdir() if path.is_dir())
    with pytest.raises(ExportError, match="fakes:tiny_network"):
        nas.load(folder)
    monkeypatch.setenv("NAS_SEARCH_SPACES", "search_spaces, fakes")
    images = torch.randn(2, 1, 8, 8)
    assert torch.equal(nas.load(folder)(images), nas.load(folder, network=tiny_network)(images))


def test_another_network_than_the_winners_is_a_sentence(winner: Path) -> None:
    with pytest.raises(NasError):
        nas.load(winner, network=tiny_network)


def test_weights_keep_every_bit_and_dtype(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(2, 2).double())
    save_weights(tmp_path / "w", module.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(2, 2).double())
    load_weights(tmp_path / "w", other)
    pairs = zip(module.state_dict().items(), other.state_dict().items(), strict=True)
    assert all(a == b and torch.equal(x, y) and x.dtype == y.dtype for (a, x), (b, y) in pairs)


@pytest.mark.parametrize(("values", "bits"), [((-0.3, 0.3), 1), ((-0.3, 0.0, 0.3), 2), ((-0.0, 0.0), 1)])
def test_weights_of_few_values_take_few_bits_and_come_back_exactly(
    values: tuple[float, ...], bits: int, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network, other = nn.Linear(99, 101), nn.Linear(99, 101)
    with torch.no_grad():
        network.weight.copy_(torch.tensor(values)[torch.randint(0, len(values), (101, 99))])
    save_weights(tmp_path / "weights", network)
    assert (tmp_path / "weights").stat().st_size < 101 * 99 * bits / 8 + 4 * 101 + 600
    load_weights(tmp_path / "weights", other)
    for name, value in network.state_dict().items():
        assert torch.equal(value.view(torch.int32), other.state_dict()[name].view(torch.int32))


def test_variants_have_files_of_their_own() -> None:
    assert variant_file("fp32") == "model.onnx"
    assert variant_file("int8") == "model.int8.onnx"


def own(classes: int, channels: int) -> nn.Module:
    """The tiny network, of which nothing can be left out."""
    return tiny_network(classes, channels)


def other(classes: int = 10, channels: int = 1) -> nn.Module:
    """The tiny network with a bias more: the same choices and other weights."""
    network = tiny_network(classes, channels)
    assert isinstance(network, nn.Sequential)
    return nn.Sequential(*network, nn.BatchNorm1d(classes))


@pytest.fixture
def own_winner(tiny_copy: Path) -> Path:
    """A winner of the tiny network as if its study had said partial(own, classes=10, channels=1)."""
    folder = next(path for path in (tiny_copy / "winners").iterdir() if path.is_dir())
    description = json.loads((folder / "architecture.json").read_text())
    description["network"] = {"factory": "my_study:own", "arguments": {"classes": 10, "channels": 1}}
    (folder / "architecture.json").write_text(json.dumps(description))
    return folder


@pytest.mark.parametrize(
    "network",
    [
        own,
        partial(own, classes=10),
        partial(own, 10),
        partial(own, classes=10, channels=1),
        lambda: own(10, 1),
        lambda classes, **rest: own(classes, **rest),
    ],
)
def test_a_network_that_is_passed_gets_the_studys_arguments(own_winner: Path, network: Any) -> None:
    stored = safetensors.torch.load_file(own_winner / "model.safetensors")
    state = nas.load(own_winner, network=network).state_dict()
    assert all(torch.equal(stored[name], state[name]) for name in stored)


def with_widths(widths: tuple[int, ...], named: dict[str, list[int]]) -> nn.Module:
    """The tiny network, if its arguments are exactly those of the study."""
    assert (widths, named) == ((10, 1), {"a": [1]})
    return own(*widths)


def test_arguments_that_hold_others_come_back_as_they_were(own_winner: Path) -> None:
    path = own_winner / "architecture.json"
    description = json.loads(path.read_text())
    description["network"] = network_reference(partial(with_widths, widths=(10, 1), named={"a": [1]}))
    path.write_text(json.dumps(description))
    assert nas.load(own_winner, network=with_widths)
    path.write_text(path.read_text().replace('"tuple"', '"triple"'))
    with pytest.raises(DamagedFileError, match="neither a tuple nor a dictionary"):
        nas.load(own_winner, network=with_widths)


def test_arguments_that_a_partial_states_are_its_own(own_winner: Path) -> None:
    with pytest.raises(ExportError, match=r"its '6\.weight' is \(9, \d\) and that of the weights \(10, \d\)"):
        nas.load(own_winner, network=partial(own, classes=9))


@pytest.mark.parametrize("network", [lambda size: own(size, 1), partial(own, 10, 1, 7)])
def test_a_network_that_cant_be_called_so_is_a_sentence(own_winner: Path, network: Any) -> None:
    with pytest.raises(ExportError, match="pass my_study:own, or functools"):
        nas.load(own_winner, network=network)


def test_whole_weights_are_not_called_damaged(own_winner: Path) -> None:
    with pytest.raises(ExportError, match=r"it has '7\.weight' and the weights don't; .* pass my_study:own"):
        nas.load(own_winner, network=other)
    weights = own_winner / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(DamagedFileError, match="restore the file"):
        nas.load(own_winner, network=other)


@pytest.mark.parametrize("content", ["{}", "[]", '"text"', '{"choices": {}, "network": {"factory": "a:b"}}'])
def test_a_description_that_lacks_something_is_a_sentence(winner: Path, content: str) -> None:
    (winner / "architecture.json").write_text(content)
    with pytest.raises(DamagedFileError, match=r"architecture\.json doesn't describe a winner"):
        nas.load(winner)


def test_weights_that_layers_share_are_kept_and_shared_again(tmp_path: Path) -> None:
    def made() -> nn.Module:
        first, second = nn.Linear(4, 4), nn.Linear(4, 4)
        second.weight = first.weight
        return nn.Sequential(first, second)

    before, after = made(), made()
    save_weights(tmp_path / "weights.safetensors", before)
    load_weights(tmp_path / "weights.safetensors", after)
    assert all(torch.equal(value, after.state_dict()[name]) for name, value in before.state_dict().items())
    assert after[0].weight is after[1].weight  # type: ignore[index]
