"""How long one question takes to an exported model, beside ``model.predict`` with the same one.

Both run the very same functions, of the SavedModels of finished runs: once called as they are, as
a server or a program does, and once as a Keras model's ``predict``, without XLA, which would
compile anew for each length. The questions are those that each export carries
(``common.warmup``), one row of them. Both are asked in turn, in one process, so that whatever else
the machine does strikes both. Writes benchmarks/results/serving.json.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from tqdm import tqdm

from benchmarks import measure
from common import runs
from common.cli import main, start_tensorflow
from common.errors import UserError

WARM = 5
"""Questions that are not counted."""


@dataclass(frozen=True)
class BenchmarkConfig:
    """Measure what a call of an exported model takes."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of finished runs, of any applications."""
    calls: int = 100
    """Calls of each."""
    out: Path = Path(__file__).parent / "results" / "serving.json"
    """Where to write the results."""

    def __post_init__(self) -> None:
        if self.calls < 1:
            raise UserError(f"--calls {self.calls}: expected a value above 0")
        if not self.runs:
            raise UserError("no run's folder is named, expected one or more")


def run(config: BenchmarkConfig) -> dict[str, Any]:
    """Prints a row for each signature, and writes them to --out."""
    found = [(runs.read_config(runs.Run(path)).get("app", ""), path) for path in config.runs]
    finished = [(app, runs.finished(app, path)) for app, path in found]
    machine = measure.machine()
    start_tensorflow()

    from common import export, warmup

    rows = []
    for app, folder in finished:
        model, asked = export.load(folder.export), warmup.read(folder.export)
        if not asked:
            raise UserError(f"{folder.export}: carries no requests: train anew")
        for signature, several in asked.items():
            inputs = {name: v[:1] if np.ndim(v) else v for name, v in several.items()}
            contenders = {
                "saved_model": as_it_is(model, signature, inputs),
                "predict": as_keras_model(model, signature, inputs),
            }
            seconds = in_turn(contenders, config.calls, f"{app} {signature}")
            medians = {f"{name}_ms": 1e3 * float(np.median(s)) for name, s in seconds.items()}
            ratio = medians["predict_ms"] / medians["saved_model_ms"]
            sizes = {name: list(np.shape(value)) for name, value in inputs.items()}
            names = {"app": app, "signature": signature, "inputs": sizes}
            rows.append({**names, **medians, "ratio": ratio})
    result = {"calls": config.calls, "rows": rows, "machine": machine, "versions": runs.versions()}
    config.out.parent.mkdir(parents=True, exist_ok=True)
    runs.write_json(config.out, result)
    show(rows)
    return result


Ask = Callable[[], None]


def as_it_is(model: Any, signature: str, inputs: Mapping[str, np.ndarray]) -> Ask:
    """From NumPy to NumPy, through a signature."""
    import tensorflow as tf

    function = model.signatures[signature]

    def ask() -> None:
        said = function(**{name: tf.constant(value) for name, value in inputs.items()})
        for value in said.values():
            value.numpy()

    return ask


def as_keras_model(model: Any, signature: str, inputs: Mapping[str, np.ndarray]) -> Ask:
    """The same by ``predict``, which wants a row for everything: numbers alone get one."""
    import keras
    import tensorflow as tf

    function = model.signatures[signature]
    specs = function.structured_input_signature[1]
    alone = {name for name, value in inputs.items() if not np.ndim(value)}

    class Asked(keras.Model):
        def call(self, rows: Any) -> Any:
            given = {name: row[0] if name in alone else row for name, row in rows.items()}
            return function(**{n: tf.ensure_shape(row, specs[n].shape) for n, row in given.items()})

    asked = Asked()
    asked.compile(jit_compile=False)
    rows = {name: tf.constant(value) for name, value in inputs.items()}  # strings too
    rows |= {name: rows[name][tf.newaxis] for name in alone}

    def ask() -> None:
        asked.predict(rows, verbose=0)

    return ask


def in_turn(contenders: dict[str, Ask], calls: int, label: str) -> dict[str, list[float]]:
    """Seconds of each call."""
    random = np.random.default_rng(0)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in tqdm(range(WARM + calls), desc=label, disable=None):
        for name in random.permutation(list(contenders)):  # after another one caches are cold
            started = time.perf_counter()
            contenders[name]()
            if number >= WARM:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def show(rows: list[dict[str, Any]]) -> None:
    """A row for each signature, with the size of its largest input."""
    print(f"{'':28s}{'largest input':>16s}{'SavedModel':>12s}{'predict':>12s}{'ratio':>8s}")
    for row in rows:
        largest = max(row["inputs"].values(), key=lambda shape: int(np.prod(shape)))
        name = f"{row['app']} {row['signature']}"
        size = " x ".join(map(str, largest)) or "1"
        times = f"{row['saved_model_ms']:9.2f} ms{row['predict_ms']:9.2f} ms"
        print(f"{name:28s}{size:>16s}{times}{row['ratio']:8.1f}")


if __name__ == "__main__":
    main(run, BenchmarkConfig, prog="python -m benchmarks.serving")
