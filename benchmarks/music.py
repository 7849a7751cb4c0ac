"""How long a trained composer takes: 64 bars through the SavedModel's ``generate``, and a frame (of
melodies a note) through its ``step``, both at batch 1; and what runs on the public JSB_Chorales.mat
reach, beside published figures.

    python -m benchmarks.music --run RUN
    python -m benchmarks.music --beside JOINT INDEPENDENT

Each is asked again and again, drawn by another seed every time; the first calls, in which
TensorFlow still prepares the graph, are not counted. The published figures are of the same parts of
the same file, in nats a frame; heads of one kind are to be compared. What a run reached on the test
part, and when on validation the best figure published for its kind, is read from its folder.
Writes benchmarks/results/music.json.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from apps.music.config import TEMPERATURE, TOP_P
from apps.music.pieces import KEYS
from apps.music.settings import Settings, draw
from benchmarks import measure
from benchmarks.measure import MEMORY, SIZE, Column
from common import runs
from common.cli import main, start_tensorflow
from common.errors import UserError

WARM = 2
"""Calls that are not counted."""
JSB = "JSB_Chorales"
PUBLISHED = {
    "LSTM (Bai et al. 2018, arXiv:1803.01271)": ("independent", 8.45),
    "GRU (the same)": ("independent", 8.43),
    "TCN (the same)": ("independent", 8.10),
    "RRU (Zakovskis et al. 2021, arXiv:2108.00527)": ("independent", 7.72),
    "RNN-NADE (Boulanger-Lewandowski et al. 2012, arXiv:1206.6392)": ("joint", 5.56),
}
COLUMNS = (
    Column("head", "head"),
    Column("nats a frame", "nll", ".2f", best=None),
    Column("95 % interval", "interval"),
    Column("s to the best published", "target_seconds", ",.0f", best=None),
    Column("training, s", "train_seconds", ",.0f", best=None),
    MEMORY,
    SIZE,
)


@dataclass(frozen=True)
class BenchmarkConfig:
    """Measure how fast a finished run of apps.music composes."""

    run: Path | None = None
    """Folder of a finished run, to be timed."""
    beside: tuple[Path, ...] = ()
    """Finished runs on JSB_Chorales.mat, to stand beside published figures."""
    bars: int = 64
    """Bars of 4/4 to compose."""
    repeats: int = 10
    """Pieces to compose."""
    out: Path = Path(__file__).parent / "results" / "music.json"
    """Where to write the results."""

    def __post_init__(self) -> None:
        for name in ("bars", "repeats"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} {getattr(self, name)}: expected a value above 0")
        if self.run is None and not self.beside:
            raise UserError("expected --run or --beside")


def run(config: BenchmarkConfig) -> dict[str, Any]:
    """Prints what was measured, and writes it to --out."""
    finished = None if config.run is None else runs.finished("music", config.run)
    result: dict[str, Any] = {"machine": measure.machine(), "versions": runs.versions()}
    config.out.parent.mkdir(parents=True, exist_ok=True)
    if config.beside:
        result["likelihoods"] = likelihoods(config.beside)
        print(measure.markdown(result["likelihoods"], COLUMNS))
    if finished is not None:
        result |= timings(config, finished)
    runs.write_json(config.out, result)
    return result


def likelihoods(folders: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """A row for each run, then one for each published figure.

    Raises:
        UserError: for a run on anything else than JSB_Chorales.mat.
    """
    rows: dict[str, dict[str, Any]] = {}
    for number, folder in enumerate(folders, 1):
        finished = runs.finished("music", folder)
        scores, asked = runs.read_json(finished.metrics), runs.read_config(finished)
        if scores["dataset"] != JSB:
            raise UserError(f"--beside {folder}: a run on {scores['dataset']}, expected {JSB}.mat")
        test, head = scores["test"], scores["head"]
        known = [nll for kind, nll in PUBLISHED.values() if kind == head]
        best = min(known, default=0.0)
        history = measure.history(finished.history())
        there = measure.reached(history, "val_nll", best, at_most=True)
        with tempfile.TemporaryDirectory() as again:
            peak = measure.alone(measure.training_peak, "music", folder, Path(again) / "run")
        rows[f"ours {number}, {scores['cell']}, preset {asked.get('preset', 'default')}"] = {
            "head": head,
            "nll": test["nll"],
            "interval": f"[{test['nll_low']:.2f}, {test['nll_high']:.2f}]",
            "target_seconds": there or ("never" if known else None),
            "train_seconds": scores["train_seconds"],
            "peak_bytes": peak,
            "bytes": measure.size_of(finished.export),
        }
    return rows | {name: {"head": head, "nll": nll} for name, (head, nll) in PUBLISHED.items()}


def timings(config: BenchmarkConfig, finished: runs.Run) -> dict[str, Any]:
    """Seconds of a piece and of a frame of a finished run."""
    settings = Settings.read(finished)
    start_tensorflow()

    from common import export

    model = export.load(finished.export)
    frames = config.bars * 4 * settings.resolution
    whole = timed(composes(model, settings, frames), config.repeats, "generate")
    steps = timed(steps_on(model, settings), min(frames, 500), "step")
    result = {
        "run": str(config.run),
        "head": settings.head,
        "bars": config.bars,
        "frames": frames,
        "generate_seconds": float(np.median(whole)),
        "generate_seconds_slowest": float(np.max(whole)),
        "generate_ms_a_frame": 1e3 * float(np.median(whole)) / frames,
        "step_ms": 1e3 * float(np.median(steps)),
    }
    print(
        f"{config.bars} bars, {frames:,} frames, by generate: median {np.median(whole):.2f} s, "
        f"slowest {np.max(whole):.2f} s; {result['generate_ms_a_frame']:.2f} ms a frame\n"
        f"a {'note' if settings.head == 'events' else 'frame'} by step: median "
        f"{result['step_ms']:.2f} ms"
    )
    return result


def composes(model: Any, settings: Settings, frames: int) -> Callable[[int], None]:
    """Asks ``generate`` for so many frames from nothing."""
    import tensorflow as tf

    def ask(seed: int) -> None:
        bar = 4 * settings.resolution * settings.metres
        how = draw(TEMPERATURE, 0, TOP_P, seed, bar, key=1)
        start = tf.zeros([1, 0, KEYS], tf.int32)
        roll = model.signatures["generate"](start=start, steps=tf.constant(frames), **how)["roll"]
        assert roll.numpy().shape == (1, frames, KEYS)

    return ask


def steps_on(model: Any, settings: Settings) -> Callable[[int], None]:
    """Asks ``step`` for one more, from where the call before it stopped."""
    import tensorflow as tf

    step = model.signatures["step"]
    given = {
        name: tf.zeros([1, *spec.shape[1:]] if spec.shape.rank else [], spec.dtype)
        for name, spec in step.structured_input_signature[1].items()
    }
    given |= {"temperature": tf.constant(TEMPERATURE), "top_p": tf.constant(TOP_P)}
    passed_on = {"frame": "before"}  # of melodies the pitch and the length, by their own names

    def ask(seed: int) -> None:
        said = step(**{**given, "seed": tf.constant(seed)})
        said["nll"].numpy()
        for name, value in said.items():
            name = passed_on.get(name, name)
            if name in given:
                given[name] = value

    return ask


def timed(ask: Callable[[int], None], count: int, label: str) -> np.ndarray:
    """Seconds of each call."""
    seconds = []
    for seed in tqdm(range(WARM + count), desc=label, disable=None):
        started = time.perf_counter()
        ask(seed)
        seconds.append(time.perf_counter() - started)
    return np.array(seconds[WARM:])


if __name__ == "__main__":
    main(run, BenchmarkConfig, prog="python -m benchmarks.music")
