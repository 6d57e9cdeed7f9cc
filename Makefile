# Two commands do everything: `make demo` and `make test`. Both install what they need into .venv.
.PHONY: demo test lint train audit locks clean

VENV := .venv
# ONNX Runtime reports to its maker otherwise.
export ORT_DISABLE_TELEMETRY := 1
# Threads of libraries on few cores wait for one another; servers are told their own number.
export OMP_NUM_THREADS ?= 1
BIN := $(VENV)/bin
LOCKS := deploy/locks
PIP := -m pip install --quiet --disable-pip-version-check
install = $(1) $(PIP) --require-hashes -r $(2) && $(1) $(PIP) --no-deps --no-build-isolation -e .
lock = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	--no-header $(1) -o $(LOCKS)/$(2).txt
# Triton's Python backend and numpy < 2 have wheels for these two versions only.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3 python,$(shell $(p) -c \
	'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $(p))))

demo: $(VENV)/.server
	$(BIN)/edge demo ptycho
	$(BIN)/edge demo map

test: $(VENV)/.test .venv-numpy2/.base lint
	$(BIN)/python -m pytest -n auto tests/unit
	$(BIN)/python -m pytest -n auto tests/training
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/system
	EDGE_SERVER_PYTHON=$(CURDIR)/$(BIN)/python .venv-numpy2/bin/python -m pytest -n auto tests/base tests/unit/streams \
		tests/unit/pipeline tests/unit/agent tests/unit/experiment tests/unit/results tests/unit/simulate \
		tests/unit/conditioning tests/unit/positions tests/unit/simplon tests/unit/steering tests/unit/http

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/pyright

# What is installed is what was tested: versions and hashes of everything (`make locks` takes newer ones).
$(VENV)/.server: pyproject.toml $(LOCKS)/server.txt | $(VENV)/bin/pip
	$(call install,$(BIN)/python,$(LOCKS)/server.txt)
	touch $@

$(VENV)/.test: pyproject.toml $(LOCKS)/test.txt $(VENV)/.server
	$(call install,$(BIN)/python,$(LOCKS)/test.txt)
	touch $@

# What `edge train` needs; with it `make test` tests the trainings, too. Not by itself: torch is large.
train: $(VENV)/.train

$(VENV)/.train: $(LOCKS)/train.in $(VENV)/.server
	$(BIN)/python $(PIP) -r $(LOCKS)/train.in
	touch $@

# The base install as Bluesky users have it: numpy 2, no Triton wheel, no onnxruntime.
.venv-numpy2/.base: pyproject.toml $(LOCKS)/base.txt | .venv-numpy2/bin/pip
	$(call install,.venv-numpy2/bin/python,$(LOCKS)/base.txt)
	touch $@

# Licences and known vulnerabilities of all that is installed.
audit: $(VENV)/.test .venv-numpy2/.base .venv-audit/.tools
	.venv-audit/bin/pip-licenses --python=$(BIN)/python --partial-match --fail-on='GPL;GNU General;Affero' --summary
	.ci/vulnerabilities .venv-audit/bin/pip-audit $(VENV)/lib/python3*/site-packages .venv-numpy2/lib/python3*/site-packages

.venv-audit/.tools: $(LOCKS)/audit.txt | .venv-audit/bin/pip
	.venv-audit/bin/python $(PIP) --require-hashes -r $(LOCKS)/audit.txt
	touch $@

# Needs uv. The result is reviewed and committed.
locks:
	$(call lock,pyproject.toml $(LOCKS)/build.in --extra server --extra bench,server)
	$(call lock,pyproject.toml $(LOCKS)/build.in --extra server --extra bench --extra test,test)
	$(call lock,pyproject.toml $(LOCKS)/build.in $(LOCKS)/numpy2.in,base)
	$(call lock,$(LOCKS)/audit.in,audit)

$(VENV)/bin/pip .venv-numpy2/bin/pip .venv-audit/bin/pip: %/bin/pip:
	@test -n '$(PYTHON)' || { echo 'Python 3.11 or 3.12 is needed and was not found.' \
		'Install it (Debian 12: apt install python3 python3-venv) or name it: make PYTHON=/path/to/python3.11'; exit 1; }
	@$(PYTHON) -m venv $* || { rm -rf $*; echo 'No virtual environment could be made with $(PYTHON);' \
		'Debian and Ubuntu keep that in a package of its own: apt install python3-venv'; exit 1; }

clean:
	rm -rf $(VENV) .venv-numpy2 .venv-audit demo-output
