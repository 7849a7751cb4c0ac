"""The pictures of the README, out of finished runs: one of each application's result.

    python -m benchmarks.pictures runs/bench/* runs/studies/vanishing_gradients

What a run has drawn already is taken from its ``plots/``; a text read word by word and a piece are
made by the commands that anybody would type. Each picture becomes ``APP.png`` (of a study, the
study's name), made narrower and of fewer colours, so that a page of them loads quickly.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from PIL import Image

from common import runs
from common.cli import main
from common.errors import UserError

DRAWN = {"timeseries": "forecasts", "speech": "heard", "gesture": "bands"}
"""What to take from a run's plots/."""
TEXT = (
    "I expected to be bored. The plot is thin and the first half drags, but the acting is superb, "
    "the music is wonderful, and the ending moved me to tears."
)
MADE = {
    "sentiment": ("predict", "--explain", TEXT, "--png"),
    "music": ("predict", "--key", "G major", "--bars", "8", "--out"),
}
"""What to ask of a run, whose picture stands where the last word says."""
WIDTH, COLOURS = 880, 128
MOST_BYTES = 600_000
"""Of all pictures together: a README is not to be waited for."""


@dataclass(frozen=True)
class PicturesConfig:
    """Make the pictures of the README from finished runs and studies."""

    folders: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of finished runs, one of an application, and of studies."""
    out: Path = Path(__file__).parent.parent / "docs" / "pictures"
    """Where to put them; those of the same names are replaced."""

    def __post_init__(self) -> None:
        if not self.folders:
            raise UserError("no folder is named, expected those of runs or studies")


def run(config: PicturesConfig) -> dict[str, int]:
    """Makes them; returns the bytes of each.

    Raises:
        UserError: for a folder that is neither a finished run's nor a study's.
    """
    sizes = {}
    config.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for place in config.folders:
            name, picture = pictured(place, Path(folder))
            target = config.out / f"{name}.png"
            runs.write_whole(target, small(picture).save)
            sizes[name] = target.stat().st_size
            print(f"{target}: {sizes[name]:,} bytes", flush=True)
    total = sum(path.stat().st_size for path in config.out.glob("*.png"))
    print(f"{total:,} bytes in all, {MOST_BYTES:,} at most")
    return sizes


def pictured(place: Path, folder: Path) -> tuple[str, Path]:
    """A name, and the picture that stands for a run or a study; what must be made is made in
    `folder`."""
    if (place / "results.png").is_file():
        return place.name, place / "results.png"
    app = str(runs.read_config(runs.Run(place)).get("app"))
    finished = runs.finished(app, place)
    if app in DRAWN:
        picture = finished.plots / f"{DRAWN[app]}.png"
    elif app in MADE:
        picture = made(app, place, MADE[app], folder)
    else:
        raise UserError(f"{place}: a run of {app!r}, of which nothing is shown")
    if not picture.is_file():
        raise UserError(f"{picture}: no such picture")
    return app, picture


def made(app: str, place: Path, words: Sequence[str], folder: Path) -> Path:
    """The picture that a command of `app` leaves in `folder`."""
    module, *flags = words
    out = folder / (f"{app}.png" if flags[-1] == "--png" else f"{app}.mid")
    command = [sys.executable, "-m", f"apps.{app}.{module}", "--run", str(place), *flags, str(out)]
    subprocess.run(command, check=True)
    return out.with_suffix(".png")


def small(picture: Path) -> Image.Image:
    """At most `WIDTH` pixels wide, of `COLOURS` colours."""
    with Image.open(picture) as opened:
        image = opened.convert("RGB")
    if image.width > WIDTH:
        image = image.resize(
            (WIDTH, round(image.height * WIDTH / image.width)), Image.Resampling.LANCZOS
        )
    return image.quantize(COLOURS, dither=Image.Dither.NONE)


if __name__ == "__main__":
    main(run, PicturesConfig, prog="python -m benchmarks.pictures")
