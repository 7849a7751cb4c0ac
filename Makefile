# The commands people type. Each sets up what it needs: nothing but Python 3.11 and make is
# expected of the machine.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# What installing depends on; a change there installs anew.
MANIFEST := pyproject.toml constraints.txt
# The runs that the benchmarks measure; these are trained when they aren't there.
RUN := runs/bench/timeseries
GESTURE_RUN := runs/bench/gesture
MUSIC_RUN := runs/bench/music
SPEECH_RUN := runs/bench/speech
SENTIMENT_RUN := runs/bench/sentiment
# What the flags in ARGS need beside the application itself.
SWEEP := $(if $(findstring --sweep,$(ARGS)),.venv/.sweep)
SERVED := $(SENTIMENT_RUN) $(RUN) $(MUSIC_RUN) $(SPEECH_RUN) $(GESTURE_RUN)

.PHONY: help install lint test test-slow sentiment timeseries music speech gesture gesture-folds \
  board report bench bench-recurrence bench-sentiment bench-timeseries bench-gesture bench-music \
  bench-speech bench-checkpoints bench-scaling bench-serving pictures kill-test cluster-demo export \
  clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18

install: .venv/.app ## make .venv and install the suite in it

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  "Python %d.%d found, 3.11 or newer expected: make PYTHON=/path/to/python3.11" \
	  % sys.version_info[:2])'
	$(PYTHON) -m venv .venv

.venv/.app: $(MANIFEST) | .venv/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

.venv/.dev: $(MANIFEST) | .venv/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@ .venv/.app

.venv/.speech: $(MANIFEST) | .venv/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[speech]'
	@touch $@ .venv/.app

.venv/.sweep: $(MANIFEST) | .venv/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[sweep]'
	@touch $@ .venv/.app

.venv/.export: $(MANIFEST) | .venv/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[edge,onnx]'
	@touch $@ .venv/.app

.venv/.bench: $(MANIFEST) | .venv/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[bench,edge,speech]'
	@touch $@ .venv/.app

lint: .venv/.dev ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# In parts, each in processes of its own: one that runs everything ends up with 10 GB. What one part
# has trained the next one finds. A part in which ARGS leaves nothing (5) is none that failed.
test: .venv/.dev ## the tests, without the slow ones, in two processes; ARGS="-k music"
	@TESTS_SHARED_FOLDER=$$(mktemp -d) || exit 1; export TESTS_SHARED_FOLDER; \
	trap 'rm -rf "$$TESTS_SHARED_FOLDER"' EXIT; trap 'exit 130' HUP INT TERM; \
	failed=0; for part in a-g h-r s-z; do \
	  $(BIN)/python -m pytest -m 'not slow' -n 2 --dist loadfile --no-loadscope-reorder \
	    tests/test_[$$part]*.py $(ARGS) || [ $$? = 5 ] || failed=1; \
	done; exit $$failed

test-slow: .venv/.dev ## the slow tests
	$(BIN)/python -m pytest -m slow

kill-test: .venv/.dev ## kill each app's training 40 times and compare its end; ARGS="--kills 5 music"
	$(BIN)/python -m tests.kills $(ARGS)

sentiment: .venv/.app $(SWEEP) ## train, score and export on IMDb; ARGS="--preset best" for more
	$(BIN)/python -m apps.sentiment.train $(ARGS)

timeseries: .venv/.app $(SWEEP) ## train, score and export on electricity demand; ARGS="--dataset weather"
	$(BIN)/python -m apps.timeseries.train $(ARGS)

music: .venv/.app $(SWEEP) ## train, score and export on Bach's chorales; ARGS="--dataset folk"
	$(BIN)/python -m apps.music.train $(ARGS)

speech: .venv/.speech $(SWEEP) ## train, score and export on spoken digits; ARGS="--dataset commands"
	$(BIN)/python -m apps.speech.train $(ARGS)

gesture: .venv/.app $(SWEEP) ## train, score and export on watch streams; ARGS=--causal labels them live
	$(BIN)/python -m apps.gesture.train $(ARGS)

gesture-folds: .venv/.app ## the same for all five folds: every subject is tested once
	$(BIN)/python -m apps.gesture.train --fold all $(ARGS)

board: .venv/.app ## TensorBoard on runs/
	$(BIN)/tensorboard --logdir runs

report: .venv/.app ## runs/index.html: all runs, compared
	$(BIN)/python -m common.report runs

cluster-demo: .venv/.app ## two workers on this machine train like one, and survive a kill
	$(BIN)/python -m studies.cluster_demo $(ARGS)

export: .venv/.export ## a run's model for LiteRT and ONNX; ARGS="--run FOLDER --to litert"
	$(BIN)/python -m common.export $(ARGS)

bench: ## every benchmark: docs/benchmarks.md
bench: bench-recurrence bench-sentiment bench-timeseries bench-gesture bench-music bench-speech \
  bench-serving bench-checkpoints bench-scaling

bench-recurrence: .venv/.bench ## the recurrence beside Keras, PyTorch and bare matrix products
	$(BIN)/python -m benchmarks.recurrence $(ARGS)

bench-sentiment: .venv/.app ## the race with the keras-io recipe and NB-SVM; ARGS="--epochs 2"
	$(BIN)/python -m benchmarks.sentiment $(ARGS)

bench-timeseries: .venv/.bench $(RUN)/metrics.json ## a forecaster beside its peers; RUN=FOLDER
	$(BIN)/python -m benchmarks.timeseries --run $(RUN) $(ARGS)

runs/bench/timeseries/metrics.json: | .venv/.app
	$(BIN)/python -m apps.timeseries.train --run-dir $(@D)

bench-gesture: .venv/.bench $(GESTURE_RUN)/metrics.json ## time a frame, and peers; GESTURE_RUN=FOLDER
	$(BIN)/python -m benchmarks.gesture --run $(GESTURE_RUN) $(ARGS)
	$(BIN)/python -m benchmarks.gesture_peers --run $(GESTURE_RUN)

runs/bench/gesture/metrics.json: | .venv/.app
	$(BIN)/python -m apps.gesture.train --causal --run-dir $(@D)

bench-music: .venv/.app $(MUSIC_RUN)/metrics.json ## time a piece and a frame; MUSIC_RUN=FOLDER
	$(BIN)/python -m benchmarks.music --run $(MUSIC_RUN) $(ARGS)

runs/bench/music/metrics.json: | .venv/.app
	$(BIN)/python -m apps.music.train --run-dir $(@D)

bench-speech: .venv/.bench $(SPEECH_RUN)/metrics.json ## speed, beside PocketSphinx; SPEECH_RUN=FOLDER
	$(BIN)/python -m benchmarks.speech --run $(SPEECH_RUN) $(ARGS)

bench-scaling: .venv/.app ## throughput of two workers beside one, a core each
	$(BIN)/python -m benchmarks.scaling $(ARGS)

runs/bench/speech/metrics.json: | .venv/.speech
	$(BIN)/python -m apps.speech.train --causal --run-dir $(@D)

bench-checkpoints: .venv/.speech ## what share of a training its checkpoints take
	$(BIN)/python -m benchmarks.checkpoints $(ARGS)

bench-serving: .venv/.app $(SERVED:=/metrics.json) ## a SavedModel's latency beside predict's
	$(BIN)/python -m benchmarks.serving $(SERVED) $(ARGS)

runs/bench/sentiment/metrics.json: | .venv/.app
	$(BIN)/python -m apps.sentiment.train --run-dir $(@D)

pictures: .venv/.bench $(SERVED:=/metrics.json) runs/studies/vanishing_gradients/results.png ## the README's
	$(BIN)/python -m benchmarks.pictures $(SERVED) runs/studies/vanishing_gradients $(ARGS)

runs/studies/vanishing_gradients/results.png: | .venv/.app
	$(BIN)/python -m studies.vanishing_gradients --minutes 1

clean: ## remove .venv and what tools left; runs/ stays
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
