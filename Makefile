PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint docs install chromium
install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	touch $@

demo: install
	$(BIN)/nas run digits

test: install chromium
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

# The page's tests need Chromium: the system's, the distribution's where we may install it, or Playwright's own.
chromium: install
	@command -v chromium || command -v chromium-browser || command -v google-chrome \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get && apt-get update -q && apt-get install -qy chromium; } \
	|| $(BIN)/playwright install chromium || echo "There is no Chromium: the tests of the page will fail."

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A link between pages or to a heading that leads nowhere is an error.
docs: install
	$(BIN)/sphinx-build --quiet --fresh-env --fail-on-warning --keep-going docs build/docs
