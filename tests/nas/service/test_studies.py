from __future__ import annotations

import pytest

from nas.errors import CatalogError
from nas.service.studies import Studies


def test_a_catalogue_that_cant_be_listed_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_STUDIES", "no_such_package.studies")
    with pytest.raises(CatalogError, match="No module named 'no_such_package'"):
        Studies().all()
