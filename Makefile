PYTHON ?= python3
BIN := .venv/bin
SEED = $(shell date +%Y%m%d)
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint types arrows tests fuzz docs pages smoke wheel bench clean

demo: .venv/.demo  ## set up, measure every method at the quick budget, write runs/demo/report.html
	$(BIN)/gezhi run --all --budget quick --jobs 2 --out runs/demo

test: lint types arrows tests docs smoke wheel  ## set up, then everything that CI checks, in its order
	@echo "all checks passed"

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.dev
	$(BIN)/mypy

arrows: .venv/.dev
	$(BIN)/lint-imports

tests: .venv/.dev  ## everything, then the tensor code once more with its shape annotations checked at run time
	$(BIN)/pytest -q -n 2
	$(BIN)/pytest -q -n 2 tests/nn tests/losses tests/training tests/diffusion \
		-m "not compiles and not wrong_types and not fuzz" \
		--jaxtyping-packages=gezhi.nn,gezhi.losses,gezhi.training,gezhi.diffusion,runtime_types.typechecker

fuzz: .venv/.dev  ## 20 000 files for each reader, others every day; takes an hour; counts in .venv/fuzz.json
	GEZHI_FUZZ=20000 GEZHI_FUZZ_SEED=$(SEED) GEZHI_FUZZ_COUNTS=.venv/fuzz.json nice -n 19 $(BIN)/pytest -q -n 2 -m fuzz

docs: .venv/.dev  ## both languages agree, generated parts are up to date, the site builds without a warning
	$(BIN)/python docs/translations.py
	$(BIN)/python docs/generate.py --check
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html/en
	$(BIN)/sphinx-build -q -W --keep-going -b html -t zh docs docs/_build/html/zh

smoke: .venv/.dev
	rm -rf .venv/smoke
	$(BIN)/gezhi run --all --budget smoke --jobs 2 --out .venv/smoke

wheel: .venv/.dev  ## build the wheel and import it where nothing but the core is installed
	rm -rf .venv/wheel
	$(BIN)/python -m build --quiet --wheel --no-isolation --outdir .venv/wheel .
	$(BIN)/python tools/bare_import.py .venv/wheel

pages: .venv/.dev  ## rewrite what is generated on pages, in the README and the index; pose changed tests again
	$(BIN)/python docs/generate.py

bench: .venv/.dev  ## peers side by side; slow, wants an idle machine
	for file in benchmarks/bench_*.py; do $(BIN)/python $$file || exit 1; done

.venv/.demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP_INSTALL) -e '.[lab,graph,text]'
	touch $@

.venv/.dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP_INSTALL) -e '.[dev]'
	touch $@ .venv/.demo

clean:
	rm -rf .venv docs/_build runs
