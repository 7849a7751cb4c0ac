"""What a second worker brings: throughput of two workers, each held to one core, beside one held
to one core; and the input pipeline's share of a step.

Rounds are interleaved: in each the one worker (without any strategy) and then the two train the
same number of steps of the same global batch, in processes of their own, so that whatever else
the machine does strikes both. Counted is the time of the measured steps, as the chief sees it;
the first steps, which trace and fill the queues, are not. The input pipeline's share is the time
that making the same batches takes by itself, over that of the steps. Writes
benchmarks/results/scaling.json.
"""

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measure
from common import launch, runs
from common.cli import main, start_tensorflow
from common.errors import UserError

WARM = 5  # steps that are not counted
MEASURE = ("-c", "import sys; from benchmarks.scaling import one_worker; one_worker(sys.argv[1])")


@dataclass(frozen=True)
class BenchmarkConfig:
    """Measure the throughput of one worker and of two."""

    rounds: int = 5
    """Times that each is measured, in turn."""
    steps: int = 30
    """Optimiser steps of a measurement."""
    batch_sizes: tuple[int, ...] = (128, 256)
    """Sequences in the global batch, over all workers together; each is measured."""
    length: int = 100
    """Words in a sequence."""
    units: int = 128
    """Width of the recurrent layer, in each direction."""
    out: Path = Path(__file__).parent / "results" / "scaling.json"
    """Where to write the results."""


def run(config: BenchmarkConfig) -> dict[str, Any]:
    """Prints the throughputs, and writes them to --out."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise UserError("one core found, expected two: each worker is held to one of its own")
    machine = measure.machine()
    found = {str(size): of_a_batch(config, size, cores) for size in config.batch_sizes}
    result = {
        "steps": config.steps,
        "batch_sizes": found,
        "machine": machine,
        "versions": runs.versions(),
    }
    print(measure.on(machine))
    config.out.parent.mkdir(parents=True, exist_ok=True)
    runs.write_json(config.out, result)
    return result


def of_a_batch(config: BenchmarkConfig, batch_size: int, cores: Sequence[int]) -> dict[str, Any]:
    """The rounds of one size of a global batch; what each measured, and the ratios."""
    found: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    for number in range(config.rounds):
        for workers in found:
            one = group(config, batch_size, cores[:workers])
            found[workers].append(one)
            print(
                f"batch {batch_size}, round {number + 1}, {workers} worker(s): "
                f"{one['sequences_a_second']:.0f} sequences/s, "
                f"input {one['input_share']:.1%} of a step",
                flush=True,
            )
    rates = {n: np.array([one["sequences_a_second"] for one in rows]) for n, rows in found.items()}
    ratios = rates[2] / rates[1]
    for n, rows in found.items():
        share = np.median([row["input_share"] for row in rows])
        print(
            f"batch {batch_size}, {n} worker(s): median {np.median(rates[n]):.0f} sequences/s, "
            f"input {share:.1%}"
        )
    print(
        f"batch {batch_size}, two over one: median {np.median(ratios):.2f}, "
        f"from {ratios.min():.2f} to {ratios.max():.2f}"
    )
    return {
        "workers": {str(n): rows for n, rows in found.items()},
        "median_ratio": float(np.median(ratios)),
        "ratios": ratios.tolist(),
    }


def group(config: BenchmarkConfig, batch_size: int, cores: Sequence[int]) -> dict[str, float]:
    """Measures as many workers as there are cores for; what the chief says."""
    asked = {name: getattr(config, name) for name in ("steps", "length", "units")}
    asked["batch_size"] = batch_size
    single = {f"TF_NUM_{kind}OP_THREADS": "1" for kind in ("INTRA", "INTER")}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as opened:
        processes = []
        places = launch.tf_configs(len(cores)) if len(cores) > 1 else [""]
        for core, place in zip(cores, places, strict=True):
            said = opened.enter_context((Path(folder) / f"{core}.log").open("w+"))
            words = [*MEASURE, json.dumps(asked)]
            process = launch.start(words, said, place, [core], {**single, "OMP_NUM_THREADS": "1"})
            processes.append((process, said))
            opened.callback(process.kill)
        codes = [process.wait() for process, _ in processes]
        texts = []
        for _, said in processes:
            said.seek(0)
            texts.append(said.read())
    if any(codes):
        raise UserError(f"a worker ended with {codes}: {' '.join(texts)[-500:]}")
    return json.loads(texts[0].splitlines()[-1])


def one_worker(text: str) -> None:
    """One worker's part; the chief prints what it found."""
    asked = json.loads(text)
    start_tensorflow()

    import tensorflow as tf

    from apps.sentiment import model, objectives
    from apps.sentiment.config import SentimentConfig
    from common import cluster, training, workers
    from common.data import SequenceBatches
    from common.trainer import Trainer

    config = SentimentConfig(
        units=asked["units"],
        batch_size=asked["batch_size"],
        strategy="multi-worker" if "TF_CONFIG" in os.environ else "none",
    )
    strategy = training.set_up(config)
    steps, random = WARM + asked["steps"], np.random.default_rng(0)
    count = steps * config.batch_size
    numbers = random.integers(2, 5000, (count, asked["length"])).astype(np.int32)
    batches = SequenceBatches(list(numbers), random.integers(0, 2, count), config.batch_size)
    with strategy.scope():
        network = model.build(config, 5000, 2)
    objective = objectives.classification(network, config)
    trainer = Trainer(network, objective, config, steps, strategy)
    workers.share(strategy, trainer.variables)
    feed = trainer.feed(batches, 0)
    for number in range(steps):
        if number == WARM:
            began = time.perf_counter()
        float(trainer.step(feed)["loss"])
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    for _ in batches.epoch(0, WARM, workers.shares(strategy)):
        pass
    feeding = time.perf_counter() - began
    tf.debugging.assert_all_finite(trainer.model.get_weights()[0], "diverged")
    workers.meet()
    if workers.is_chief(strategy):
        rate = asked["steps"] * config.batch_size / seconds
        found = {"sequences_a_second": rate, "input_share": feeding / seconds}
        print(json.dumps({**found, "seconds_a_step": seconds / asked["steps"]}), flush=True)
    sys.stdout.flush()
    cluster.leave(0)


if __name__ == "__main__":
    main(run, BenchmarkConfig, prog="python -m benchmarks.scaling")
