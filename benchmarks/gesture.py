"""How long a causal labeller takes for one frame: through the SavedModel's ``step``, frame by
frame, and through LiteRT, hop by hop.

All are asked in turn, a hop of frames each, in one process, so that whatever else the machine does
strikes all. A ``step`` that completes no hop is cheap: beside the median over single calls stands
that over hops of a hop's time divided by its frames, which is what LiteRT's is. LiteRT needs the
extra ``edge``. Writes benchmarks/results/gesture.json.
"""

import importlib.util
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from apps.gesture import schema as schemas
from benchmarks import measure
from common import runs
from common.cli import main, start_tensorflow
from common.errors import UserError

WARM = 50  # hops that are not counted


@dataclass(frozen=True)
class BenchmarkConfig:
    """Measure the time a frame of a finished causal run of apps.gesture."""

    run: Path
    """Folder of a finished run, trained with --causal."""
    hops: int = 1000
    """Hops that each contender is asked."""
    out: Path = Path(__file__).parent / "results" / "gesture.json"
    """Where to write the results."""


def run(config: BenchmarkConfig) -> dict[str, Any]:
    """Prints a row for each contender, and writes them to --out."""
    finished = runs.finished("gesture", config.run)
    schema = schemas.read(finished)
    if not schema["causal"]:
        raise UserError(f"--run {config.run}: bidirectional, expected a run with --causal")
    if importlib.util.find_spec("ai_edge_litert") is None:
        raise UserError("ai-edge-litert is missing: pip install -c constraints.txt -e '.[edge]'")
    machine = measure.machine()
    start_tensorflow()

    from common import export, formats

    folder = finished.export.parent / "litert"
    model = export.load(finished.export)
    contenders = {"SavedModel": of_saved_model(model)}
    sizes = {}
    for name in formats.WEIGHTS:
        file = folder / f"hop_{name}.tflite"
        contenders[f"LiteRT {name}"], hop = of_litert(file)
        sizes[f"LiteRT {name}"] = file.stat().st_size
    seconds = in_turn(contenders, hop, len(schema["channels"]), config.hops)
    result = {
        "run": str(config.run),
        "hop": hop,
        "contenders": {
            name: {
                "median_ms_a_frame": 1e3 * float(np.median(taken.sum(axis=1))) / hop,
                "median_ms_a_call": 1e3 * float(np.median(taken)),
                "calls_a_hop": taken.shape[1],
                "bytes": sizes.get(name),
            }
            for name, taken in seconds.items()
        },
        "machine": machine,
        "versions": {**runs.versions(), "ai-edge-litert": version("ai-edge-litert")},
    }
    config.out.parent.mkdir(parents=True, exist_ok=True)
    runs.write_json(config.out, result)
    show(result)
    return result


Ask = Callable[[np.ndarray], Iterator[None]]
"""A hop of frames ``[hop, channels]`` -> something that makes one call each time it is asked."""


def of_saved_model(model: Any) -> Ask:
    """``step``, a frame a call."""
    import tensorflow as tf

    step = model.signatures["step"]
    state = model.signatures["start"](batch=tf.constant(1))

    def ask(frames: np.ndarray) -> Iterator[None]:
        nonlocal state
        for frame in frames:
            said = step(frames=tf.constant(frame[np.newaxis, np.newaxis]), **state)
            said["probabilities"].numpy()
            state = {name: value for name, value in said.items() if name.startswith("state")}
            yield

    return ask


def of_litert(file: Path) -> tuple[Ask, int]:
    """A LiteRT file, a hop a call; and its frames in a hop."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(file), num_threads=1).get_signature_runner()
    shapes = {name: detail["shape"] for name, detail in runner.get_input_details().items()}
    hop = int(shapes.pop("frames")[1])
    state = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}

    def ask(frames: np.ndarray) -> Iterator[None]:
        nonlocal state
        said = runner(frames=frames[np.newaxis], **state)
        state = {name: said[name] for name in state}
        yield

    return ask, hop


def in_turn(
    contenders: dict[str, Ask], hop: int, channels: int, hops: int
) -> dict[str, np.ndarray]:
    """Seconds of each call, ``[hops, calls in a hop]``."""
    random = np.random.default_rng(0)
    seconds: dict[str, list[list[float]]] = {name: [] for name in contenders}
    for number in tqdm(range(WARM + hops), unit="hop", disable=None):
        frames = random.normal(size=(hop, channels)).astype(np.float32)
        for name in random.permutation(list(contenders)):  # after another one caches are cold
            ask, taken = contenders[name], []
            started = time.perf_counter()
            for _ in ask(frames):
                now = time.perf_counter()
                taken.append(now - started)
                started = now
            if number >= WARM:
                seconds[name].append(taken)
    return {name: np.array(taken) for name, taken in seconds.items()}


def show(result: dict[str, Any]) -> None:
    """A row for each contender."""
    print(f"{'':16s}{'ms a frame':>12s}{'ms a call':>12s}{'bytes':>10s}")
    for name, row in result["contenders"].items():
        size = "" if row["bytes"] is None else f"{row['bytes']:,}"
        print(
            f"{name:16s}{row['median_ms_a_frame']:12.4f}{row['median_ms_a_call']:12.4f}{size:>10s}"
        )


if __name__ == "__main__":
    main(run, BenchmarkConfig, prog="python -m benchmarks.gesture")
