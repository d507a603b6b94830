# `make` lists the targets. Only Python 3.11 to 3.13 and make are needed.
# Options: PYTHON=python3.12  VENV=path (reuse an environment)  ALL=1 (make notebooks)
PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
.PHONY: help setup book test notebooks lint assignments grade leaderboard experiments \
        mutants serve address bundle colab-check gates clean

help:            ## list the targets
	@awk '/^[a-z-]+:.*## / {name = text = $$0; sub(/:.*/, "", name); \
	  sub(/.*## /, "", text); printf "  make %-12s %s\n", name, text}' $(MAKEFILE_LIST)

setup:           ## make the environment, or repair it
	@$(PYTHON) tools/setup_env.py $(VENV)

book: setup      ## build the book and say where its first page is
	@$(RUN) tools/build_book.py

test: setup      ## run everything that CI runs
	@$(RUN) tools/test_all.py

notebooks: setup ## execute the notebooks whose inputs changed (ALL=1: all of them)
	@$(RUN) tools/run_notebooks.py $(if $(ALL),--all)

lint: setup      ## format the sources, then check style and types
	@$(RUN) -m ruff format . && $(RUN) -m ruff check . && $(RUN) -m mypy lib/effdl

assignments: setup ## student versions, and the teacher's bundle (SEED=2027: a variant)
	@$(RUN) tools/assignments.py $(if $(SEED),--seed $(SEED))

grade: setup     ## grade a folder: make grade SUBMISSIONS=folder ASSIGNMENT=darts
	@$(RUN) tools/grade.py "$(SUBMISSIONS)" "$(ASSIGNMENT)" \
	  $(if $(RESULTS),--results "$(RESULTS)") $(if $(COURSE),--course "$(COURSE)") \
	  $(if $(SEED),--seed $(SEED)) $(if $(TRUST),--trust) \
	  $(if $(ACCEPT),--accept "$(ACCEPT)") $(if $(LIMITS),--limits '$(LIMITS)') \
	  $(if $(JOBS),--jobs $(JOBS))

leaderboard: setup ## rank the capstones that were graded (RESULTS=grades/capstone)
	@$(RUN) tools/leaderboard.py $(or $(RESULTS),grades/capstone)

experiments: setup ## run what is missing of the long experiments (resumable)
	@$(RUN) tools/run_experiments.py

mutants: setup   ## break every method on purpose: the tests must notice
	@$(RUN) tools/mutants.py

gates: setup     ## plant one failure for each gate and see it caught
	@$(RUN) tools/gates.py

serve: book      ## serve the built book on this machine
	@$(RUN) -m http.server --bind 127.0.0.1 --directory _build/html 8000

address:         ## write the repository's address everywhere: make address URL=https://...
	@$(PYTHON) tools/address.py "$(URL)"

bundle: book     ## site, notebooks, data and wheel in one archive, for a class offline
	@$(RUN) tools/bundle.py

colab-check: setup ## run the notebooks in a fresh environment like Colab's
	@$(RUN) tools/colab_check.py $(if $(COLAB_PYTHON),--python $(COLAB_PYTHON))

clean:           ## remove what was built (the environment stays)
	@rm -rf _build dist .pytest_cache .mypy_cache .ruff_cache
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
