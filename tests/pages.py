"""What stands in a report's HTML, and what every run's report must show."""

import base64
import io
import json
import math
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import soundfile
from markupsafe import escape
from scipy import signal

from common.config import from_json
from common.media import Kept, KeptReport, picture_uri


class Page(HTMLParser):
    """Text, tags and addresses of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.addresses: list[str] = []
        self.texts: list[str] = []
        self._silent = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.addresses += [str(v) for k, v in attrs if k in ("src", "href", "srcset", "data")]
        self._silent = tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        if not self._silent and data.strip():
            self.texts.append(data.strip())

    @property
    def text(self) -> str:
        return "\n".join(self.texts)


def assert_shown(run: Path) -> Page:
    """The report of a finished run has its scores, baselines, curves, data and commands, and asks
    nobody for anything."""
    result = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    page = Page(run / "report.html")
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert page.tags["script"] == 0
    for shown in (*result["baselines"], f"{result['parameters']:,}", result["dataset"]):
        assert shown in page.texts
    name, score = next(iter(result["test"].items()))
    assert name.replace("_", " ") in page.texts
    numbers = [float(text) for text in page.texts if re.fullmatch(r"-?\d+\.\d+", text)]
    assert any(math.isclose(number, score, rel_tol=1e-3) for number in numbers)
    assert {"Scores", "Settings", "Data and licence", "Versions"} <= set(page.texts)
    assert f"apps.{result['app']}.predict --run {run}" in page.text
    if (run / "history.csv").exists():
        assert page.tags["polyline"] + page.tags["circle"] > 0
    for picture in (run / "plots").glob("*.png"):
        assert page.tags["img"] > 0 or picture.stem == "learning_curves"
    return page


def sections(run: Path) -> dict[str, tuple[Kept, ...]]:
    """What the application itself had to show of a run, title to blocks: all of it is in its page,
    each picture and sound in words too."""
    written = json.loads((run / "report.json").read_text(encoding="utf-8"))
    found = {s.title: s.blocks for s in from_json(KeptReport, written, "report.json").sections}
    page = (run / "report.html").read_text(encoding="utf-8")
    for title, blocks in found.items():
        assert escape(title) in page
        for block in blocks:
            assert str(escape(block.text)) in page
            if block.kind == "picture":
                assert len(block.text) > 40
                assert picture_uri(run / block.source) in page
            if block.kind == "sound":
                assert len(block.text) > 15
                assert block.source in page
    return found


def alike(block: Kept, samples: np.ndarray, rate: int) -> float:
    """How much a sound of a page is that of `samples`: 1 if it is, 0 if there is nothing of it."""
    kept, own = soundfile.read(io.BytesIO(base64.b64decode(block.source.partition(",")[2])))
    assert own == rate
    assert abs(len(kept) - len(samples)) < 0.2 * rate
    assert np.abs(kept).max() > 0.01
    size = np.linalg.norm(kept) * np.linalg.norm(samples)
    return float(signal.correlate(kept, samples).max() / size)
