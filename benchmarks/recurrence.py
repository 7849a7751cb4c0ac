"""The recurrence engine beside Keras's layers, PyTorch's, and the bare matrix products.

One forward and backward pass (the gradient of the inputs and of every weight) of each
contender, run in turn in one process, so that whatever else the machine does strikes all; what
counts is the ratio of medians. Against Keras and ours stands the better of with and without
XLA. Memory is measured in a process for each contender: the peak of a long step above what the
process held after a short one. Writes benchmarks/results/recurrence.json.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import measure
from common.cli import start_tensorflow

SHAPES = [(64, 128, 128, 128), (32, 200, 64, 64), (32, 500, 64, 256), (16, 1000, 32, 64)]
LARGEST = (32, 500, 64, 256)
LONG = (16, 4000, 32, 64)
CELLS = ("simple", "irnn", "lstm", "gru")
RUNS = 15
BLOCK = 64
SLOW = 3.0
Pass = Callable[[], Any]


def main() -> None:
    """Prints a row for every cell, shape and mask, then the figures over all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=RUNS, help="timed runs of each contender")
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    words = parser.parse_args()
    start_tensorflow()
    if words.memory_of:
        print(json.dumps(peak_of_a_step(*words.memory_of)))
        return
    import tensorflow as tf

    from common import runs

    machine = measure.machine()
    tf.get_logger().setLevel("ERROR")  # many functions are traced here, and meant to be
    cases = [
        measured(name, shape, masked, words.runs)
        for name in CELLS
        for shape in SHAPES
        for masked in (False, True)
    ]
    vs_keras = [case["vs_keras"] for case in cases]
    gemm = beside_products(LARGEST, words.runs)
    long = {
        name: measured(name, LONG, False, words.runs, peers=False) for name in ("gru", "mingru")
    }
    memory = memory_table()
    figures = {
        "geomean_vs_keras": statistics.geometric_mean(vs_keras),
        "worst_vs_keras": max(vs_keras),
        "geomean_vs_torch": statistics.geometric_mean(case["vs_torch"] for case in cases),
        "vs_gemm_largest": best(gemm, "ours") / best(gemm, "six"),
        "mingru_vs_gru_4000": best(long["gru"], "ours") / best(long["mingru"], "ours"),
        "memory_vs_keras": max(case["block_vs_keras"] for case in memory),
    }
    for name, value in figures.items():
        print(f"{name:20s}{value:8.3f}")
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    whole = {**figures, "cases": cases, "six_products": gemm, "long": long, "memory": memory}
    whole |= {"machine": machine, "versions": runs.versions()}
    runs.write_json(results / "recurrence.json", whole)


def measured(
    name: str, shape: tuple[int, ...], masked: bool, count: int, peers: bool = True
) -> dict[str, Any]:
    """Seconds of every contender at one case, and the ratios."""
    import numpy as np

    random = np.random.default_rng(0)
    batch, steps, features, _ = shape
    inputs = random.normal(size=(batch, steps, features)).astype(np.float32)
    lengths = random.integers(steps // 2, steps, batch) if masked else None
    contenders = {
        "ours": tensorflow_pass("ours", name, shape, inputs, lengths, jit=False),
        "ours_jit": tensorflow_pass("ours", name, shape, inputs, lengths, jit=True),
    }
    if peers:
        contenders["keras"] = tensorflow_pass("keras", name, shape, inputs, lengths, jit=False)
        contenders["keras_jit"] = tensorflow_pass("keras", name, shape, inputs, lengths, jit=True)
        contenders["torch"] = torch_pass(name, shape, inputs, lengths)
    case: dict[str, Any] = {"cell": name, "shape": shape, "masked": masked}
    case |= interleaved(contenders, count)
    if peers:
        case["vs_keras"] = best(case, "ours") / best(case, "keras")
        case["vs_torch"] = best(case, "ours") / case["torch"]
    times = "".join(f"  {key} {case[key] * 1e3:7.1f} ms" for key in contenders)
    ratios = "".join(f"  {key} {case[key]:.2f}" for key in ("vs_keras", "vs_torch") if key in case)
    print(f"{name:7s}{shape!s:21s}{' mask' if masked else '     '}{times}{ratios}", flush=True)
    return case


def best(case: dict[str, Any], who: str) -> float:
    """With or without XLA, whichever is quicker."""
    return float(min(case[who], case[f"{who}_jit"]))


def layer_of(who: str, name: str, units: int) -> Any:
    """A layer that hands out all states: of this project, or Keras's of the same mathematics."""
    import keras

    from common.cells import make_cell
    from common.layers import Recurrent

    if who.startswith("ours"):
        return Recurrent(make_cell(name, units), block=BLOCK if who == "ours_block" else 0)
    activation = "relu" if name == "irnn" else "tanh"
    if name in ("simple", "irnn"):
        return keras.layers.SimpleRNN(units, activation=activation, return_sequences=True)
    kind = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[name]
    return kind(units, return_sequences=True)


def tensorflow_pass(
    who: str, name: str, shape: tuple[int, ...], inputs: Any, lengths: Any, *, jit: bool
) -> Pass:
    """A compiled forward and backward pass, traced and compiled already."""
    import numpy as np
    import tensorflow as tf

    layer = layer_of(who, name, shape[-1])
    x = tf.constant(inputs)
    mask = None
    if lengths is not None:
        mask = tf.constant(np.arange(shape[1]) < lengths[:, np.newaxis])

    @tf.function(jit_compile=jit)
    def run() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.square(layer(x, mask=mask, training=True)))
        return tape.gradient(loss, [x, *(v.value for v in layer.trainable_variables)])

    run()
    return lambda: run()[0].numpy()


def torch_pass(name: str, shape: tuple[int, ...], inputs: Any, lengths: Any) -> Pass:
    """The same by PyTorch, whose way with masks is to pack the sequences."""
    import torch

    _, _, features, units = shape
    kinds = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
    kwargs = {} if name in kinds else {"nonlinearity": "relu" if name == "irnn" else "tanh"}
    layer = kinds.get(name, torch.nn.RNN)(features, units, batch_first=True, **kwargs)
    if name == "irnn":  # the same start as ours: a random one explodes
        torch.nn.init.eye_(layer.weight_hh_l0)
        torch.nn.init.normal_(layer.weight_ih_l0, std=0.01)
    x = torch.from_numpy(inputs).requires_grad_()
    pack = torch.nn.utils.rnn.pack_padded_sequence

    def run() -> Any:
        layer.zero_grad(set_to_none=True)
        x.grad = None
        if lengths is None:
            outputs = layer(x)[0]
        else:
            packed = pack(x, torch.from_numpy(lengths), batch_first=True, enforce_sorted=False)
            outputs = layer(packed)[0].data
        torch.sum(torch.square(outputs)).backward()
        assert x.grad is not None
        return x.grad.numpy()

    run()
    return run


def beside_products(shape: tuple[int, ...], count: int) -> dict[str, float]:
    """Seconds of our LSTM's training step and of its six large matrix products alone: of the
    inputs and of the states with their kernels, and for either the two on the way back."""
    import numpy as np
    import tensorflow as tf

    batch, steps, features, units = shape
    x, h, delta, w, u = (
        tf.random.normal(size)
        for size in (
            (batch * steps, features),
            (batch * steps, units),
            (batch * steps, 4 * units),
            (features, 4 * units),
            (units, 4 * units),
        )
    )

    def six() -> Any:
        return [
            tf.matmul(x, w),
            tf.matmul(h, u),
            tf.matmul(delta, w, transpose_b=True),
            tf.matmul(delta, u, transpose_b=True),
            tf.matmul(x, delta, transpose_a=True),
            tf.matmul(h, delta, transpose_a=True),
        ]

    plain, compiled = tf.function(six), tf.function(six, jit_compile=True)
    inputs = np.random.default_rng(0).normal(size=shape[:3]).astype(np.float32)
    contenders: dict[str, Pass] = {
        "six": lambda: plain()[0].numpy(),
        "six_jit": lambda: compiled()[0].numpy(),
        "ours": tensorflow_pass("ours", "lstm", shape, inputs, None, jit=False),
        "ours_jit": tensorflow_pass("ours", "lstm", shape, inputs, None, jit=True),
    }
    times = interleaved(contenders, count)
    shown = ", ".join(f"{key} {value * 1e3:.1f} ms" for key, value in times.items())
    print(f"lstm and its six products {shape}: {shown}", flush=True)
    return times


def interleaved(contenders: dict[str, Pass], count: int) -> dict[str, float]:
    """Median seconds of each, run in turn; the first round is not counted. Who takes more than
    SLOW seconds is run in that round alone."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(count + 1):
        for name, run in contenders.items():
            if times[name] and times[name][0] > SLOW:
                continue
            time.sleep(0.005)  # threads of the one before have gone to sleep
            started = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - started)
            if number == 1:
                times[name].pop(0)
    return {name: statistics.median(taken) for name, taken in times.items()}


def memory_table() -> list[dict[str, Any]]:
    """Peak memory of one training step at the long shape, of ours and of Keras's, each with and
    without XLA, in a process of its own."""
    table = []
    for name in CELLS:
        case: dict[str, Any] = {"cell": name, "shape": LONG}
        for who in ("ours", "ours_block", "keras"):
            for jit in ("", "_jit"):
                words = [sys.executable, "-m", "benchmarks.recurrence"]
                words += ["--memory-of", name, who + jit]
                done = subprocess.run(words, capture_output=True, text=True, check=True)
                case[who + jit] = json.loads(done.stdout.splitlines()[-1])
        case["vs_keras"] = best(case, "ours") / best(case, "keras")
        case["block_vs_keras"] = best(case, "ours_block") / best(case, "keras")
        table.append(case)
        sizes = "  ".join(f"{k} {v / 2**20:.0f} MiB" for k, v in case.items() if type(v) is int)
        ratios = f"vs_keras {case['vs_keras']:.2f}, in blocks {case['block_vs_keras']:.2f}"
        print(f"memory {name:7s}{sizes}  {ratios}", flush=True)
    return table


def peak_of_a_step(name: str, contender: str) -> int:
    """Bytes that a step takes at most, above what the process held after steps that are short
    (which are there for the threads, the compiler and the code)."""
    import numpy as np

    who, jit = contender.removesuffix("_jit"), contender.endswith("_jit")
    inputs = np.random.default_rng(0).normal(size=LONG[:3]).astype(np.float32)
    short = (LONG[0], 8, *LONG[2:])
    tensorflow_pass(who, name, short, inputs[:, :8], None, jit=jit)()  # threads, compiler, code
    before = _status("VmRSS")
    tensorflow_pass(who, name, LONG, inputs, None, jit=jit)()
    return _status("VmHWM") - before


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {field} in /proc/self/status: memory is measured on Linux only")


if __name__ == "__main__":
    main()
