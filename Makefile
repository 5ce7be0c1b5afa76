# make repro       the pipeline, for the net that params.yaml names: dvc repro report
# make install     the environment with the command goodnet, from requirements.lock; make repro makes it too
# make remotes     the same, with DVC's clients for S3, SSH and WebDAV (docs/sharing.md)
# make fleet       the same, with Dask for many nets or settings at once (docs/fleet.md)
# make test        format, lint, types and the quick tests; make test-long: the slow ones
# make bench       the speed at the lab's size, and of the pruning curve against the plain way
# make fuzz       20,000 damaged files, opened as `goodnet` opens those of strangers; takes long
# make build       the wheel and the sdist, into dist/
# make smoke       install the wheel in an empty environment of each Python, 3.11 to 3.13, and try all of it there
# make deps        write into dvc.yaml which modules each stage uses, and what goodnet init gives to projects
# make settings    write the settings' comments and table from their descriptions
# make notebook    run docs/example.ipynb, and keep what it shows
# make plots       write .dvc/plots.html, with which dvc plots draws offline
# make lock        pin the requirements anew (needs uv)

# The stages' commands say `python`: it is the environment's.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
PIP_INSTALL = .venv/bin/python -m pip install --quiet --disable-pip-version-check
# The package itself: a link to stages/ and the command goodnet. The locked setuptools builds it, offline.
PIP_INSTALL_GOODNET = $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header

.PHONY: repro install remotes fleet test test-long bench fuzz build smoke deps settings plots notebook lock

repro: .venv/.runtime
	.venv/bin/python -m dvc repro report

install: .venv/.runtime

remotes: .venv/.remotes

fleet: .venv/.fleet

test: .venv/.test
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/python -m pytest -n 2 --dist worksteal -m "not long and not smoke"

test-long: .venv/.test
	.venv/bin/python -m pytest -n 2 --dist worksteal -m long

bench: .venv/.runtime
	.venv/bin/python tools/bench.py

fuzz: .venv/.runtime
	.venv/bin/python tools/fuzz.py

build: .venv/.runtime
	.venv/bin/python tools/build.py

smoke: .venv/.test
	.venv/bin/python -m pytest -n 2 -m smoke tests/test_wheel.py

deps settings plots: .venv/.runtime
	.venv/bin/python tools/$@.py
	.venv/bin/python tools/project.py

notebook: .venv/.test
	.venv/bin/python tools/notebook.py

lock:
	$(COMPILE) requirements.txt -o requirements.lock
	$(COMPILE) requirements.txt requirements-remotes.txt -c requirements.lock -o requirements-remotes.lock
	$(COMPILE) requirements.txt requirements-remotes.txt requirements-fleet.txt -c requirements-remotes.lock \
		-o requirements-fleet.lock
	$(COMPILE) requirements.txt requirements-remotes.txt requirements-fleet.txt requirements-test.txt \
		-c requirements-fleet.lock -o requirements-test.lock

# Each mark is set last, so that an install that was cut short is done again.
.venv/.runtime: requirements.lock pyproject.toml .venv/.created
	@echo "installing the locked requirements into .venv (once, about 2 minutes)"
	$(PIP_INSTALL) --require-hashes -r requirements.lock
	$(PIP_INSTALL_GOODNET)
	@touch $@

.venv/.remotes .venv/.fleet .venv/.test: .venv/.%: requirements-%.lock pyproject.toml .venv/.created
	@echo "installing $< into .venv (once, about 2 minutes)"
	$(PIP_INSTALL) --require-hashes -r $<
	$(PIP_INSTALL_GOODNET)
	@touch $@

.venv/.created:
	@for python in $(PYTHON) python3 python3.13 python3.12 python3.11 python; do \
		"$$python" -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
			2>/dev/null && "$$python" -m venv .venv && touch $@ && exit 0; \
	done; \
	echo "error: no Python 3.11 to 3.13 with venv on the PATH; name one: make PYTHON=/path/to/python3.12" >&2; \
	exit 1
