from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from short_training import StopError, equal, stop_after, trained

from nas.errors import DamagedFileError, RunDirectoryError
from nas.training import Recipe


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.99])
def test_a_truncated_checkpoint_is_told_and_the_previous_one_serves(tmp_path: Path, keep: float) -> None:
    recipe, checkpoint = Recipe(epochs=4, batch_size=16), tmp_path / "checkpoint.pt"
    expected = trained(recipe)
    with pytest.raises(StopError):
        trained(recipe, checkpoint=checkpoint, on_epoch=stop_after(3))
    content = checkpoint.read_bytes()
    checkpoint.unlink()  # the previous one must not share its bytes
    checkpoint.write_bytes(content[: int(keep * len(content)) if keep < 1 else int(keep)])
    with pytest.raises(DamagedFileError, match=r"replace it by checkpoint\.pt\.previous") as caught:
        trained(recipe, checkpoint=checkpoint)
    assert "\n" not in str(caught.value)
    checkpoint.with_name("checkpoint.pt.previous").replace(checkpoint)
    epochs: list[int] = []
    resumed = trained(recipe, checkpoint=checkpoint, on_epoch=lambda epoch, _: epochs.append(epoch))
    assert epochs == [3, 4]
    assert equal(resumed[0], expected[0])


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_no_flipped_byte_of_a_checkpoint_is_trained_on(tmp_path: Path, share: float) -> None:
    recipe, checkpoint = Recipe(epochs=3, batch_size=16), tmp_path / "checkpoint.pt"
    with pytest.raises(StopError):
        trained(recipe, checkpoint=checkpoint, on_epoch=stop_after(2))
    with zipfile.ZipFile(checkpoint) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
    content = bytearray(checkpoint.read_bytes())
    content[largest.header_offset + 128 + int(share * largest.file_size)] ^= 1
    checkpoint.write_bytes(content)
    with pytest.raises(
        DamagedFileError, match=r"checkpoint\.pt can't be read \(the checksum of .* is wrong\)"
    ):
        trained(recipe, checkpoint=checkpoint)


def test_damaging_the_checkpoint_in_place_leaves_the_previous_one_whole(tmp_path: Path) -> None:
    recipe, checkpoint = Recipe(epochs=3, batch_size=16), tmp_path / "checkpoint.pt"
    trained(recipe, checkpoint=checkpoint)
    checkpoint.write_bytes(b"\0" * 10)
    assert len(torch.load(tmp_path / "checkpoint.pt.previous", weights_only=True)["losses"]) == 2


def test_without_a_previous_one_the_advice_is_to_delete(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(DamagedFileError, match="delete it to train from the start"):
        trained(Recipe(epochs=1), checkpoint=tmp_path / "checkpoint.pt")


def test_a_checkpoint_runs_no_code_of_its_own(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "touched",))  # type: ignore[return-value]

    torch.save(Payload(), tmp_path / "checkpoint.pt")
    with pytest.raises(DamagedFileError):
        trained(Recipe(epochs=1), checkpoint=tmp_path / "checkpoint.pt")
    assert not (tmp_path / "touched").exists()


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: Path, _content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunDirectoryError, match="No space left on device"):
        trained(Recipe(epochs=1), checkpoint=tmp_path / "checkpoint.pt")
