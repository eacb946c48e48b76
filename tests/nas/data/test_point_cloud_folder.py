from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.data.point_cloud_folder import PointCloudFolder
from nas.errors import DataError, NasError
from nas.tasks.segmentation import IGNORED, SemanticSegmentation
from nas.testing import check_data_source

Arrays = dict[str, Any]


def tile(seed: int, count: int = 150) -> Arrays:
    """Return a flat square of ground with a wall on it, the class of each point and its brightness."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, 10, (count, 3)) * [1, 1, 0]
    label = (np.arange(count) % 3 == 0).astype(np.uint8)
    places[:, 2] += 3 * label
    return {"xyz": places, "label": label, "brightness": 100 + 20.0 * label + rng.normal(size=count)}


def write(folder: Path, change: Callable[[Arrays], object] = lambda arrays: None) -> None:
    """Write five tiles; ``change`` is done to the arrays of the first."""
    for number in range(5):
        arrays = tile(number)
        if number == 0:
            change(arrays)
        np.savez(folder / f"tile_{number}.npz", **arrays)


def source(folder: Path, **changes: Any) -> PointCloudFolder:
    arguments: dict[str, Any] = {
        "class_names": ("ground", "wall"),
        "test": ("tile_4",),
        "search": ("tile_3",),
        "features": ("brightness",),
        "coordinates": ("xyz",),
        "points": 64,
    }
    return PointCloudFolder(folder, **{**arguments, **changes})


def test_the_contract_is_kept(tmp_path: Path) -> None:
    write(tmp_path)
    check_data_source(source(tmp_path))
    assert source(tmp_path).load().notes[2] == "test: ground 66.7%, wall 33.3%"
    splits = source(tmp_path, cuts=2, name="squares").load()
    assert (splits.name, splits.input_names) == ("squares", ("points",))
    assert [len(part) for part in (splits.train, splits.search, splits.test)] == [18, 3, 3]
    assert splits.inputs.shapes == ((64, 4),)
    assert splits.test.targets.shape == (3, 64)
    assert int((splits.test.targets == IGNORED).sum()) == 3 * 64 - 150
    assert isinstance(splits.task, SemanticSegmentation)
    assert splits.task.class_names == ("ground", "wall")
    np.testing.assert_allclose(splits.task.class_weights, [1 / (2 / 3 + 0.02), 1 / (1 / 3 + 0.02)])
    assert source(tmp_path, balance=None).load().task == SemanticSegmentation(2, ("ground", "wall"))


def test_features_are_normalised_by_what_they_are_in_train(tmp_path: Path) -> None:
    write(tmp_path)
    splits = source(tmp_path, points=150).load()
    brightness = splits.train.inputs[..., 3]  # type: ignore[call-overload]
    assert abs(float(brightness.mean())) < 1e-5
    assert abs(float(brightness.std(correction=0)) - 1) < 1e-5


@pytest.mark.parametrize("lacking", ["search", "test"])
def test_a_class_that_a_split_lacks_is_named(tmp_path: Path, lacking: str) -> None:
    write(tmp_path, lambda arrays: arrays["label"].fill(0))
    with pytest.raises(DataError, match=f"the {lacking} split of .* has no point of class 1 \\('wall'\\)"):
        source(tmp_path, **{"search": ("tile_3",), "test": ("tile_4",), lacking: ("tile_0",)}).load()


def test_whole_tiles_train_search_and_test(tmp_path: Path) -> None:
    write(tmp_path)
    parts = source(tmp_path).clouds()
    assert [[cloud.name for cloud in part] for part in parts] == [
        ["tile_0", "tile_1", "tile_2"],
        ["tile_3"],
        ["tile_4"],
    ]


def test_one_file_may_hold_several_tiles(tmp_path: Path) -> None:
    tiles = [tile(number) for number in range(4)]
    joined = {name: np.concatenate([arrays[name] for arrays in tiles]) for name in tiles[0]}
    np.savez(tmp_path / "all.npz", part=np.repeat(np.arange(4), 150), **joined)
    found = source(tmp_path / "all.npz", tile="part", search=("all/2",), test=("*/3",)).clouds()
    assert [[cloud.name for cloud in part] for part in found] == [["all/0", "all/1"], ["all/2"], ["all/3"]]
    assert np.array_equal(found[2][0].coordinates, tiles[3]["xyz"])


def test_codes_of_classes_and_points_that_do_not_count(tmp_path: Path) -> None:
    def renumber(arrays: Arrays) -> None:
        arrays["label"] = np.where(np.arange(150) < 10, 7, np.where(arrays["label"] == 1, 6, 2))

    for number in range(5):
        arrays = tile(number)
        renumber(arrays)
        np.savez(tmp_path / f"tile_{number}.npz", **arrays)
    cloud = source(tmp_path, class_codes=(2, 6), ignored=(7,)).clouds()[0][0]
    assert cloud.targets[:13].tolist() == [IGNORED] * 10 + [0, 0, 1]


def one_point(arrays: Arrays) -> None:
    for name in arrays:
        arrays[name] = arrays[name][:1]


def few_points(arrays: Arrays) -> None:
    for name in arrays:
        arrays[name] = arrays[name][:15]


def no_points(arrays: Arrays) -> None:
    for name in arrays:
        arrays[name] = arrays[name][:0]


BAD: list[tuple[Callable[[Arrays], object], str]] = [
    (no_points, r"has 0 point\(s\), and at least 16 are needed"),
    (one_point, r"has 1 point\(s\), and at least 16 are needed"),
    (few_points, r"has 15 point\(s\), and at least 16 are needed, the neighbours of one"),
    (lambda a: a["xyz"].__setitem__((3, 1), np.nan), "1 points whose coordinates are NaN"),
    (lambda a: a["brightness"].__setitem__(slice(2), np.inf), "2 points whose features are NaN"),
    (lambda a: a["xyz"].fill(5), "all 150 points of .* lie in one place"),
    (lambda a: a.pop("label"), "has no labels: 'label' is expected among"),
    (lambda a: a["label"].__setitem__(7, 2), r"the label 2 at 1 points, and the classes are \(0, 1\)"),
    (lambda a: a.update(label=a["label"].astype(float) - 1), "the label -1 at"),
    (lambda a: a.update(label=a["label"] + 0.5), "no integers"),
    (lambda a: a.update(label=np.array(["wall"] * 150)), "no integers"),
    (lambda a: a.update(label=a["label"][:100]), "'label': 100} entries"),
    (
        lambda a: a.update(label=np.stack([a["label"], 1 - a["label"]], 1)),
        r"labels of shape \(150, 2\) for 150",
    ),
    (lambda a: a.pop("brightness"), "no such field: 'brightness' is expected among"),
    (lambda a: a.update(brightness=np.array(["dark"] * 150)), "numbers are expected"),
    (lambda a: a.update(xyz=a["xyz"][:, :2]), "2 coordinates"),
]


@pytest.mark.parametrize(("change", "told"), BAD)
def test_what_is_no_cloud_of_labelled_points_is_one_sentence(
    tmp_path: Path, change: Callable[[Arrays], object], told: str
) -> None:
    write(tmp_path, change)
    with pytest.raises(DataError, match=told) as caught:
        source(tmp_path).load()
    assert "tile_0" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_file_holds_besides_its_points_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "more").mkdir()
    for number in range(5):
        arrays = tile(number)
        np.savez(tmp_path / "plain" / f"tile_{number}.npz", **arrays)
        named = {"epsg": np.array(32633), **arrays, "label": arrays["label"][:, None]}
        np.savez(tmp_path / "more" / f"tile_{number}.npz", **named)
    plain, more = (source(tmp_path / name, features=(), name="x").load() for name in ("plain", "more"))
    assert plain.fingerprint == more.fingerprint


def test_a_tile_without_any_class_is_told(tmp_path: Path) -> None:
    write(tmp_path, lambda arrays: arrays["label"].fill(9))
    with pytest.raises(DataError, match=r"all points of tile 'tile_0' .* are ignored"):
        source(tmp_path, ignored=(9,)).load()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"test": ("north",)}, "test pattern 'north' fits no tile: there are"),
        ({"test": ("tile_[34]",)}, r"\['tile_3'\] are in search and in test"),
        ({"search": ("tile_[0123]",)}, "train, search or test has no tile"),
        ({"search": ()}, "train, search or test has no tile"),
        ({"class_names": ("ground",)}, "there are 1 class names"),
        ({"class_codes": (1, 2, 3)}, "3 class codes and 2 class names"),
        ({"points": 0}, "points is 0"),
        ({"grid": 0.0}, "grid is 0.0"),
        ({"grid": 100.0}, r"has 1 point\(s\) on the grid of 100.0"),
        ({"coordinates": ("x", "y")}, "one field of three columns"),
        ({"features": "brightness"}, "features"),
        ({"folder": "nowhere"}, "holds no file of points"),
    ],
)
def test_what_does_not_fit_is_one_sentence(tmp_path: Path, arguments: dict[str, Any], told: str) -> None:
    write(tmp_path)
    with pytest.raises(NasError, match=told):
        source(tmp_path / arguments.pop("folder", ""), **arguments).load()
