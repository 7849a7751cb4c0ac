"""What a run did, as one page to look at, to listen to and to send: ``RUN/report.html``.

    python -m common.report RUN       # one run's page anew, from what is in its folder
    python -m common.report runs/     # an index of all runs below: sorted, compared, overlaid

A training writes its own page at its end (``write``). The page is one file that asks no network for
anything, and its content security policy would not let it. Imports no TensorFlow.
"""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from common import charts, files, media, overview, records, runs
from common.cli import main, one_line
from common.config import from_json
from common.errors import UserError
from common.html import duration, number, render
from common.page import Section
from common.records import Record
from common.scores import tables

FLOW = "gradient_flow.png"
DRAWN = ("learning_curves.png", FLOW)
"""Pictures of ``plots/`` that are drawn anew in the page, or have a place of their own."""

ASKED = ("predict", "evaluate")
"""Commands that applications have."""
APPS = Path(__file__).parent.parent / "apps"


@dataclass(frozen=True)
class ReportConfig:
    """A run's page, or an index of many runs."""

    folder: Annotated[Path, tyro.conf.Positional] = Path("runs")
    """A run, whose report.html is written anew; or a folder with runs below it, which gets an
    index.html."""


def write(run: runs.Run, result: Mapping[str, Any], sections: Sequence[Section] = ()) -> None:
    """Writes report.html of a run that is about to end, and keeps in report.json what of it only
    the training knows. Call it before ``runs.end``: a run that is killed in between does both
    again when it is resumed.

    Args:
        result: what metrics.json will hold.
        sections: what the application has to show.

    Raises:
        UserError: for a picture among the sections that is none.
    """
    kept = media.kept(sections, run.path)
    runs.write_json(run.path / "report.json", asdict(kept))
    record = records.read(run, result)
    runs.write_text(run.path / "report.html", page(run, record, kept, ended=True))


def rewrite(run: runs.Run) -> None:
    """Writes report.html from what is in the run's folder; what is missing there is left out.

    Raises:
        UserError: naming the file, for one that is broken.
    """
    path, kept = run.path / "report.json", media.KeptReport()
    if path.exists():
        kept = from_json(media.KeptReport, runs.read_json(path), str(path))
    text = page(run, records.read(run), kept, ended=run.is_finished)
    runs.write_text(run.path / "report.html", text)


def page(run: runs.Run, record: Record, kept: media.KeptReport, *, ended: bool) -> str:
    """The HTML of a run's report.

    Args:
        ended: whether the training has come to its end, or to a Ctrl-C.

    Raises:
        UserError: for a picture of the gradient flow, or a sound, that is none.
    """
    shown = {block.source for section in kept.sections for block in section.blocks}
    sections = [media.embedded(section, run.path) for section in kept.sections]
    told = any(block.kind == "commands" for section in sections for block in section.blocks)
    flow, history = run.plots / FLOW, record.history
    return render(
        "report.html",
        title=f"{record.app}: {record.dataset}",
        state=state(run, ended),
        facts=facts(record),
        tables=tables(record.result),
        curves=charts.curves(history),
        history=history,
        epochs=list(zip(*history.values(), strict=True)),
        members=record.config.get("members"),
        flow=media.picture_uri(flow) if flow.exists() and files.inside(flow, run.path) else "",
        sections=sections,
        pictures=media.embedded(others(run, shown), run.path),
        settings=settings(record.config),
        commands=commands(record.app, run, told=told),
        versions=strings(record.result.get("versions")),
        path=str(run.path),
    )


def state(run: runs.Run, ended: bool) -> str:
    """What is to be said of a run that has not simply ended."""
    if records.is_trial(run):
        return "A trial of a sweep: it was not scored on the test part."
    if any(run.path.rglob("checkpoints/interrupted-*")):
        again = shlex.join(["--resume", str(run.path)])
        return (
            f"A training of this run was interrupted: the same command with {again} trains on. "
            "The scores are those of the best weights until then."
        )
    return "" if ended else "This run has not ended: this is what it had written so far."


def facts(record: Record) -> dict[str, str]:
    """What stands at the top: name to value."""
    config, result = record.config, record.result
    found = {
        "data": record.dataset,
        "cell": result.get("cell", config.get("cell")),
        **{name: result[name] for name in ("head", "decoder", "fold", "causal") if name in result},
        "parameters": result.get("parameters"),
        "seed": config.get("seed"),
    }
    shown = {name: number(value) for name, value in found.items() if value is not None}
    seconds = result.get("train_seconds")
    if isinstance(seconds, int | float):
        shown["training"] = duration(seconds)
    if isinstance(difference := result.get("export_difference"), float):
        shown["export differs by"] = f"{difference:.1e}"
    return shown


def others(run: runs.Run, shown: set[str]) -> media.KeptSection:
    """The pictures of a run that no section shows."""
    names = sorted(p.relative_to(run.path).as_posix() for p in run.plots.glob("*.png"))
    left = [name for name in names if name not in shown and Path(name).name not in DRAWN]
    pictures = [media.Kept("picture", Path(n).stem.replace("_", " "), source=n) for n in left]
    return media.KeptSection("Pictures", tuple(pictures))


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Name, value and default of each setting: those that are not at their defaults, if the run
    knows them, and the others."""
    defaults = config.get("defaults")
    known = defaults if isinstance(defaults, dict) else {}
    names = [name for name in config if name not in ("app", "defaults")]
    rows = {n: (n, number(config[n]), number(known[n]) if n in known else "") for n in names}
    return {
        "changed": [rows[name] for name in names if name in known],
        "others": [rows[name] for name in names if name not in known],
        "known": known,
    }


def commands(app: str, run: runs.Run, *, told: bool) -> dict[str, list[str]]:
    """What can be done with a run of any application, title to lines for a shell.

    Args:
        told: whether the application itself has said how to ask it.
    """
    if not app.isidentifier() or not (run.export / "saved_model.pb").is_file():
        return {}
    folder, export = shlex.quote(str(run.path)), shlex.quote(str(run.export.parent))
    asked = [
        f"python -m apps.{app}.{name} --run {folder} --help"
        for name in ASKED
        if (APPS / app / f"{name}.py").is_file()
    ]
    served = f'--model_base_path="$(realpath {export})" --rest_api_port=8501'
    mounted = f'-v "$(realpath {export})":/models/{app} -e MODEL_NAME={app}'
    return {
        **({"Ask and score": asked} if asked and not told else {}),
        "Look into the SavedModel": [f"saved_model_cli show --dir {export}/1 --all"],
        "Serve it by TensorFlow Serving": [
            f"tensorflow_model_server --model_name={app} \\",
            f"  {served}",
            "# or, in its container:",
            "docker run --rm -p 8501:8501 \\",
            f"  {mounted} tensorflow/serving",
        ],
    }


def strings(found: object) -> dict[str, str]:
    """A mapping as text, nothing if it is none."""
    return {k: number(v) for k, v in found.items()} if isinstance(found, dict) else {}


def run(config: ReportConfig) -> None:
    """Writes what the configuration asks for.

    Raises:
        UserError: if there is no run in the folder, or the one that it is is broken.
    """
    folder = config.folder
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    if (folder / "config.json").exists():
        rewrite(runs.Run(folder))
        print(folder / "report.html")
        return
    found, broken = overview.read(folder)
    for line in broken:
        print(one_line(f"skipped: {line}"), file=sys.stderr)
    if not found:
        raise UserError(f"{folder}: no run in it, nor below: expected a folder with a config.json")
    runs.write_text(folder / "index.html", overview.page(folder, found))
    print(f"{folder / 'index.html'}: {len(found)} runs")


if __name__ == "__main__":
    main(run, ReportConfig, prog="python -m common.report")
