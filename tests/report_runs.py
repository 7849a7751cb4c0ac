"""Small finished runs of no application, whose names and texts are as hostile as they can be."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from common import plots, report, runs
from common.config import TrainConfig
from common.page import Commands, Picture, Section, Sound, Table, Text

EVIL = "<script>document.title = 'run'</script>\"'&amp;"
RESULT: dict[str, Any] = {
    "app": "toy",
    "dataset": EVIL,
    "cell": "gru",
    "parameters": 12_345,
    "train_seconds": 3723.4,
    "test": {"accuracy": 0.87654, "accuracy_low": 0.8612, "accuracy_high": 0.8931, "nll": 4.63733},
    "baselines": {
        EVIL: {"accuracy": 0.5, "accuracy_low": 0.48, "accuracy_high": 0.52, "nll": 11.0614},
    },
    "versions": {"python": "3.11.7"},
    "export_difference": 5.96e-8,
}
HISTORY = "epoch,loss,val_accuracy,seconds\n1,0.9,0.5,3\n2,0.5,nan,3\n3,0.25,0.75,3\n"
TONE = Sound("a tone", np.sin(np.arange(8000) / 5) / 2, 16_000)


def picture(path: Path, value: float = 0.5) -> Path:
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([value, 1 - value])
    plots.save(figure, path)
    return path


def begun(folder: Path, config: TrainConfig | None = None, history: str = HISTORY) -> runs.Run:
    run = runs.Run(folder)
    runs.start(run, "toy", config or TrainConfig(units=9, data=Path("/x/y.csv"), seed=3))
    run.history().write_text(history)
    return run


def finished(folder: Path, config: TrainConfig | None = None, **changed: Any) -> runs.Run:
    """A run with a report, a picture of each kind and the application's sections."""
    run = begun(folder, config)
    picture(run.plots / "gradient_flow.png")
    picture(run.plots / "learning_curves.png")
    picture(run.plots / "errors_by_length.png")
    shown = [
        Picture(picture(run.plots / "heard.png"), f"what was heard {EVIL}"),
        Table(f"the worst {EVIL}", ["said", "written"], [[EVIL, "two"]]),
        TONE,
    ]
    told = Section("Ask it", [Commands([f"python -m apps.toy.predict {EVIL}"])])
    result = RESULT | changed
    report.write(run, result, [Section(f"Examples {EVIL}", [Text(EVIL), *shown]), told])
    runs.end(run, result)
    return run
