"""The index of many runs: a table to sort, what differs between their settings, and their curves
laid over each other. Imports no TensorFlow."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from common import charts, records, runs
from common.errors import UserError
from common.html import duration, number, render
from common.records import Record
from common.scores import ENDS, Cell, cells_of, numbers

MOST_FOLDERS = 20_000
"""That are looked into below the one that was named."""
MOST_RUNS = 500
"""On a page: more are a table that nobody reads."""
INSIDE = {"checkpoints", "tensorboard", "export", "plots", "trials"}
"""Folders of a run that hold no other run, or those of its sweep."""
WAYS = {"app", "defaults", "run_dir", "resume"}
"""Of a config.json what says where and how, not what was trained."""
SHOWN = ("cell", "parameters")
"""Of a metrics.json what the table shows beside the data and the scores."""


@dataclass(frozen=True)
class Entry:
    """A run as the index knows it: its name below the index, and what its files say."""

    name: str
    path: Path
    record: Record

    @property
    def state(self) -> str:
        """What is to be said of it beside its name: nothing, if it has ended."""
        run = runs.Run(self.path)
        if records.is_trial(run):
            return "trial of a sweep"
        return "" if run.is_finished else "not ended"

    @property
    def link(self) -> str:
        """Of its report, relative; empty if it has none."""
        there = (self.path / "report.html").is_file()
        return quote(f"{self.name}/report.html") if there else ""


def read(folder: Path) -> tuple[list[Entry], list[str]]:
    """All runs below a folder, and of those that are broken why.

    Raises:
        UserError: if there are more folders or runs than a page can be made of.
    """
    found, broken = [], []
    for path in places(folder):
        try:
            record = records.read(runs.Run(path))
            found.append(Entry(path.relative_to(folder).as_posix(), path, record))
        except UserError as error:
            broken.append(str(error))
        if len(found) > MOST_RUNS:
            raise UserError(f"{folder}: more than {MOST_RUNS} runs below it: name a smaller folder")
    return found, broken


def places(folder: Path) -> Iterator[Path]:
    """Folders with a config.json in them, in order of their names; links are not followed.

    Raises:
        UserError: if there are too many folders to look into.
    """
    for looked, (where, below, files) in enumerate(os.walk(folder)):
        if looked >= MOST_FOLDERS:
            raise UserError(f"{folder}: more than {MOST_FOLDERS:,} folders below it: name another")
        below.sort()
        if "config.json" in files:
            below[:] = [name for name in below if name not in INSIDE]
            yield Path(where)


def page(folder: Path, entries: Sequence[Entry]) -> str:
    """The HTML of the index, the runs of one application together."""
    apps: dict[str, list[Entry]] = {}
    for entry in entries:
        apps.setdefault(entry.record.app, []).append(entry)
    return render(
        "index.html",
        title=f"Runs in {folder}",
        groups=[_group(app, apps[app]) for app in sorted(apps)],
        count=len(entries),
    )


def _group(app: str, entries: Sequence[Entry]) -> dict[str, Any]:
    """What the page shows of the runs of one application."""
    scores = [numbers(entry.record.result.get("test")) for entry in entries]
    names = list(dict.fromkeys(n for row in scores for n in row if not n.endswith(ENDS)))
    shown = cells_of(scores, names)
    differing = differences([entry.record.config for entry in entries])
    return {
        "app": app,
        "names": [name.replace("_", " ") for name in names],
        "rows": [
            {"entry": entry, "facts": _facts(entry), "cells": cells}
            for entry, cells in zip(entries, shown, strict=True)
        ],
        "differing": differing,
        "values": [(entry.name, _settings(entry.record.config, differing)) for entry in entries],
        "labels": [entry.name for entry in entries if entry.record.history],
        "curves": overlaid([entry for entry in entries if entry.record.history]),
    }


def _facts(entry: Entry) -> list[Cell]:
    """Data, cell, parameters and training time, for the table; what is not known is empty."""
    values = [entry.record.result.get(name, entry.record.config.get(name)) for name in SHOWN]
    cells = [Cell(entry.record.dataset), *map(_cell, values)]
    seconds = numbers({"seconds": entry.record.result.get("train_seconds")}).get("seconds")
    return [*cells, Cell("—" if seconds is None else duration(seconds), raw=seconds)]


def _settings(config: Mapping[str, Any], names: Sequence[str]) -> list[Cell]:
    return [_cell(config[name]) if name in config else Cell("") for name in names]


def _cell(value: Any) -> Cell:
    countable = isinstance(value, int | float) and not isinstance(value, bool)
    return Cell(number(value), raw=value if countable else None)


def differences(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Settings that are not the same in all runs that have them: of an older version that lacks
    one, it is not known."""
    said: dict[str, set[str]] = {}
    for config in configs:
        for name in config.keys() - WAYS:
            said.setdefault(name, set()).add(json.dumps(config[name], sort_keys=True))
    return [n for n in dict.fromkeys(n for c in configs for n in c) if len(said.get(n, ())) > 1]


def overlaid(entries: Sequence[Entry]) -> list[charts.Chart]:
    """A chart a score of the validation part, and one of the training loss: a curve a run."""
    names = dict.fromkeys(
        name
        for entry in entries
        for name in entry.record.history
        if name == "loss" or name.startswith("val_")
    )
    found = []
    for name in names:
        lines = [
            charts.Line(entry.name, charts.points(entry.record.history, name), colour)
            for colour, entry in enumerate(entries)
            if name in entry.record.history
        ]
        what, part = name.removeprefix("val_").replace("_", " "), name.startswith("val_")
        found.append(charts.chart(f"{charts.KINDS[part]}: {what}", lines))
    return [one for one in found if one is not None]
