from __future__ import annotations

from pathlib import Path

import pytest

from nas.errors import ServiceError
from nas.service.settings import Settings, settings_from


def test_flags_go_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_SERVICE_PORT", "1234")
    monkeypatch.setenv("NAS_SERVICE_DEVICES", "cpu, cuda:0")
    monkeypatch.setenv("NAS_SERVICE_FOLDER", "/tmp/elsewhere")
    settings = settings_from(port=99, folder=None)
    assert settings.port == 99
    assert settings.devices == ("cpu", "cuda:0")
    assert settings.folder == Path("/tmp/elsewhere")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "70000"),
        ("DEVICES", " , "),
        ("RESTARTS", "-1"),
        ("PROXIES", "*"),
        ("PROXIES", "127.0.0.1, proxy.example"),
        ("PROXIES", "0.0.0.0/0"),
        ("ROOT_PATH", "nas"),
    ],
)
def test_what_is_not_valid_is_one_sentence(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"NAS_SERVICE_{name}", value)
    with pytest.raises(ServiceError, match=f"NAS_SERVICE_{name}"):
        settings_from()


@pytest.mark.parametrize(
    "address", ["nas:hunter2@127.0.0.1:1/nas", "nas@127.0.0.1:1/nas?password=hunter2"], ids=["user", "query"]
)
def test_a_password_is_not_shown_in_errors(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NAS_SERVICE_STORAGE", f"postgresql+psycopg://{address}")
    from nas.service.store import Store

    with pytest.raises(ServiceError) as error:
        Store(settings_from().database_url)
    assert "127.0.0.1" in str(error.value)
    assert "hunter2" not in str(error.value)
    with pytest.raises(ServiceError) as error:
        Store("hunter2")
    assert str(error.value).startswith("the service's database can't be opened")
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("x", False)],
)
def test_who_can_connect(host: str, expected: bool) -> None:
    assert Settings(host=host).is_loopback is expected
