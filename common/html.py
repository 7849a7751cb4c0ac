"""Pages from the templates of this folder. Everything that is put into one is escaped. Imports no
TensorFlow."""

import base64
import hashlib
import math
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

FOLDER = Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> str:
    """The HTML of a template, which is one file whole: style, pictures and sounds inside."""
    return _ENVIRONMENT.get_template(template).render(**values)


def number(value: object) -> str:
    """A value as a page shows it: of numbers four places that count."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "—"}[value]
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < 10**15 else f"{float(value):.4g}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(number, value))
    return str(value)


def places(values: list[float]) -> int:
    """Decimals to show numbers of one column with, so that their points stand under each other."""
    largest = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    if largest == 0:
        return 1
    before = math.floor(math.log10(largest)) + 1
    return min(4, max(0, 5 - before)) if before > -1 else min(9, 4 - before)


def duration(seconds: float) -> str:
    """``86.2`` as "1 min 26 s"."""
    if not 0 <= seconds < 1e9:
        return "—"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _inserted(name: str) -> Markup:
    """A file of ours as it stands: style or script."""
    return Markup((FOLDER / name).read_text(encoding="utf-8"))


def _hashed(name: str) -> str:
    """What a content security policy calls an inline script of ours, to the letter: it alone is let
    run."""
    digest = hashlib.sha256(_inserted(name).encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(FOLDER),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_ENVIRONMENT.filters.update(number=number, duration=duration)
_ENVIRONMENT.globals.update(inserted=_inserted, hashed=_hashed)
