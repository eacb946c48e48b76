from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas.catalog import describe_study, find_study, study_names
from nas.errors import CatalogError, NasError, StudyError

GOOD = """
from fakes import tiny_study
def study():
    return tiny_study(name="mine")
"""


@pytest.fixture(autouse=True)
def imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo what loading a study file does to the process."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(sys.modules)
    yield
    for name in set(sys.modules) - set(before):
        del sys.modules[name]
    sys.modules.update(before)


def written(tmp_path: Path, content: str, name: str = "mine_study.py") -> str:
    path = tmp_path / name
    path.write_text(content)
    return str(path)


def test_the_demo_is_found_by_name() -> None:
    assert "digits" in study_names()
    assert find_study("digits").name == "digits"


def test_a_study_is_found_in_a_file(tmp_path: Path) -> None:
    assert find_study(written(tmp_path, GOOD)).name == "mine"


def test_a_study_file_may_import_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "my_neighbour_of_the_study.py").write_text("NAME = 'near'\n")
    content = "import my_neighbour_of_the_study as n\nfrom fakes import tiny_study\n"
    assert (
        find_study(written(tmp_path, content + "def study():\n    return tiny_study(name=n.NAME)\n")).name
        == "near"
    )


@pytest.mark.parametrize("name", ["nosuch", "", "digits.study", "../digits", "Digits"])
def test_an_unknown_name_lists_the_known_ones(name: str) -> None:
    with pytest.raises(CatalogError, match=r"no study .*'digits'"):
        find_study(name)


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="no file"):
        find_study(str(tmp_path / "missing.py"))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "study = 3",
        "def study():\n    return 7\n",
        "def study(:\n",
        "import nosuchmodule\n",
        "raise RuntimeError('first line\\nsecond line')\n",
        "def study():\n    raise RuntimeError('inside')\n",
        "def study(size):\n    return None\n",
        "raise SystemExit(3)\n",
        "import sys\ndef study():\n    sys.exit()\n",
    ],
    ids=[
        "empty",
        "no function",
        "no study",
        "syntax",
        "import",
        "raises",
        "raises inside",
        "wants arguments",
        "exits",
        "exits inside",
    ],
)
def test_a_file_that_gives_no_study_is_a_sentence(tmp_path: Path, content: str) -> None:
    with pytest.raises(CatalogError) as caught:
        find_study(written(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_a_package_that_exits_when_it_is_imported_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "leaving_studies").mkdir()
    (tmp_path / "leaving_studies" / "__init__.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("NAS_STUDIES", "leaving_studies")
    with pytest.raises(CatalogError, match="SystemExit: 3"):
        study_names()


def test_a_study_that_is_not_valid_says_so_itself(tmp_path: Path) -> None:
    content = GOOD.replace('name="mine"', "evaluations=0")
    with pytest.raises(StudyError, match="at least 1"):
        find_study(written(tmp_path, content))


@pytest.mark.parametrize("name", ["nas.py", "json.py", "torch.py"])
def test_a_file_named_as_a_module_does_not_take_its_place(tmp_path: Path, name: str) -> None:
    kept = {module: sys.modules[module] for module in ("nas", "json", "torch")}
    with contextlib.suppress(NasError):  # refusing the name is as good
        find_study(written(tmp_path, GOOD, name))
    assert all(sys.modules[module] is before for module, before in kept.items())


@pytest.mark.parametrize("name", ["exp.v2.py", "2026-08-01.py", "two words.py"])
def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    assert find_study(written(tmp_path, GOOD, name)).name == "mine"


def test_two_files_of_one_name_are_two_studies(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        content = GOOD.replace("mine", folder)
        assert find_study(written(tmp_path / folder, content)).name == folder
        assert find_study(str(tmp_path / folder / "mine_study.py")).name == folder


def test_operators_name_packages_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "our_studies"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "mine.py").write_text(GOOD)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("NAS_STUDIES", "service_studies, our_studies,")
    assert study_names() == ["broken", "mine", "strict", "tiny"]
    assert find_study("mine").name == "mine"
    with pytest.raises(CatalogError):
        find_study("digits")


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("studdies", "'studdies' can't be listed .*No module named 'studdies'"),
        ("our_studies", "'our_studies' can't be listed .*No module named 'no_such_library'"),
        ("json.tool", "'json.tool' can't be listed"),
    ],
    ids=["no such package", "an import inside it", "no package"],
)
def test_a_package_that_cant_be_listed_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, said: str
) -> None:
    (tmp_path / "our_studies").mkdir()
    (tmp_path / "our_studies" / "__init__.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("NAS_STUDIES", f"studies,{named}")
    with pytest.raises(CatalogError, match=said):
        study_names()


def test_where_nobody_named_packages_there_need_be_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NAS_STUDIES", raising=False)
    monkeypatch.setattr("nas.catalog._DEFAULT_PACKAGE", "no_such_studies")
    assert study_names() == []


def test_a_study_is_described_in_plain_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_STUDIES", "service_studies")
    described = describe_study("tiny")
    assert json.loads(json.dumps(described)) == described
    assert described["error"] is None
    assert described["title"] == "The tiny study."
    assert [o["name"] for o in described["objectives"]] == ["accuracy", "num_params"]
    assert described["uses_knowledge"]
    assert not describe_study("strict")["uses_knowledge"]


def test_a_broken_study_is_described_by_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_STUDIES", "service_studies")
    described = describe_study("broken")
    assert "RuntimeError: no data on this machine" in described["error"]
    assert described["changeable"] == []
    with pytest.raises(CatalogError, match="can't be imported"):
        find_study("broken")
