"""Our recurrent layers beside Keras's of the same mathematics: one forward and backward pass.

The two are run in turn in one process, so that whatever else the machine does strikes both;
what counts is the ratio of their medians. Writes benchmarks/results/layers.json.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.cli import start_tensorflow

SHAPES = [(64, 128, 128, 128), (32, 200, 64, 64), (16, 1000, 32, 64)]
CELLS = ("simple", "lstm", "gru")
RUNS = 7


def main() -> None:
    """Measures every cell at every shape, with and without a mask, and prints a table."""
    start_tensorflow()
    import keras
    import numpy as np
    import psutil

    from common import runs
    from common.cells import make_cell
    from common.layers import Recurrent

    peers = {"simple": keras.layers.SimpleRNN, "lstm": keras.layers.LSTM, "gru": keras.layers.GRU}
    random = np.random.default_rng(0)
    cases: list[dict[str, Any]] = []
    heading = f"{'cell':8s}{'batch, time, features, units':32s}{'mask':6s}"
    print(f"{heading}{'ours':>9s}{'Keras':>9s}  ratio")
    for name in CELLS:
        for shape in SHAPES:
            batch, steps, features, units = shape
            inputs = random.normal(size=(batch, steps, features)).astype(np.float32)
            lengths = random.integers(steps // 2, steps, batch)
            for masked in (False, True):
                mask = np.arange(steps) < lengths[:, np.newaxis] if masked else None
                ours = passes(Recurrent(make_cell(name, units)), inputs, mask)
                theirs = passes(peers[name](units, return_sequences=True), inputs, mask)
                times = interleaved(ours, theirs, RUNS)
                case = {"cell": name, "shape": shape, "masked": masked, "ours": times[0]}
                case |= {"keras": times[1], "ratio": times[0] / times[1]}
                cases.append(case)
                print(
                    f"{name:8s}{shape!s:32s}{'yes' if masked else 'no':6s}"
                    f"{times[0] * 1e3:7.1f}ms{times[1] * 1e3:7.1f}ms  {case['ratio']:.2f}",
                    flush=True,
                )
    mean = statistics.geometric_mean(case["ratio"] for case in cases)
    print(f"geometric mean of the ratios: {mean:.2f}")
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    memory = psutil.Process().memory_info().rss
    result = {"geomean_vs_keras": mean, "cases": cases, "resident_bytes": memory}
    runs.write_json(results / "layers.json", {**result, "versions": runs.versions()})


def passes(layer: Any, inputs: Any, mask: Any) -> Callable[[], Any]:
    """A compiled forward and backward pass of `layer`, already traced."""
    import tensorflow as tf

    x = tf.constant(inputs)
    keep = None if mask is None else tf.constant(mask)

    @tf.function
    def run() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.square(layer(x, mask=keep)))
        return tape.gradient(loss, [x, *(v.value for v in layer.trainable_variables)])

    run()
    return run


def interleaved(
    ours: Callable[[], Any], theirs: Callable[[], Any], count: int
) -> tuple[float, float]:
    """Median seconds of each, run in turn."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(count):
        for run, taken in zip((ours, theirs), times, strict=True):
            started = time.perf_counter()
            run()
            taken.append(time.perf_counter() - started)
    return statistics.median(times[0]), statistics.median(times[1])


if __name__ == "__main__":
    main()
