"""Names that a user's data bring are drawn as they are: dollar signs would begin formulas."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from apps.gesture import plots as gesture
from apps.gesture.streams import Stream
from apps.music import plots as music
from apps.music.pieces import Piece
from apps.sentiment import plots as sentiment
from apps.speech import plots as speech
from apps.speech.words import Word
from apps.timeseries import plots as timeseries
from apps.timeseries.config import LEVELS
from apps.timeseries.panel import Forecast
from common import plots
from tests.timeseries_panels import waves

NAMES = ("$$", "$", "Ca$h 100 % $^{")
"""Empty formulas, and half of one."""


def of_gesture() -> Figure:
    labels = np.repeat([0, 1, 2], 10)
    stream = Stream(NAMES[0], NAMES[2], np.zeros((30, 3), np.float32), labels)
    return gesture.bands(stream, {"network": labels}, NAMES, NAMES, 10.0)


def of_music() -> Figure:
    return music.piano_roll(Piece(NAMES[2] + "$", np.zeros((8, 88), np.uint8)), 4, True)


def of_sentiment() -> Figure:
    return sentiment.trajectories([(NAMES, np.full((3, 3), 1 / 3))], NAMES)


def of_speech() -> Figure:
    log_p = np.log(np.random.default_rng(0).dirichlet(np.ones(4), 20))
    looks = np.full((3, 20), 0.05)
    words = [Word(NAMES[0], 0.1, 0.4, 0.8)]
    return speech.heard(
        *(np.zeros(9600), NAMES, (1, 2, 3), 0.03),
        log_p=log_p,
        looks=looks,
        words=words,
        title=NAMES[0],
    )


def of_timeseries() -> Figure:
    panel = waves(days=10, stations=2)
    roles = replace(panel.roles, targets=(NAMES[0],))
    series = tuple(replace(s, name=n) for s, n in zip(panel.series, NAMES, strict=False))
    origins = np.stack([np.repeat([0, 1], 3), np.tile([150, 151, 152], 2)], 1)
    quantiles = np.sort(np.random.default_rng(0).normal(size=(6, 6, 1, len(LEVELS))), axis=-1)
    forecast = Forecast(quantiles[..., LEVELS.index(0.5)], quantiles)
    named = replace(panel, name=NAMES[0], roles=roles, series=series)
    return timeseries.fans(named, origins, forecast, history=48)


@pytest.mark.parametrize(
    "drawn",
    [
        *(of_gesture, of_music, of_sentiment, of_speech, of_timeseries),
        lambda: plots.confusion_matrix(np.eye(3), NAMES),
        lambda: gesture.by_subject({"network": {name: {"frame_accuracy": 0.5} for name in NAMES}}),
        lambda: speech.errors({1: 0.5}, {name: {"wer": 0.5} for name in NAMES}),
    ],
)
def test_a_dollar_sign_in_a_name_is_drawn(drawn, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    figure = drawn()
    plots.save(figure, tmp_path / "picture.png")
    shown = [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]
    assert any(r"\$\$" in text or r"Ca\$h" in text for text in shown)


def test_of_many_subjects_the_hardest_are_drawn() -> None:
    scores = {str(n): {"frame_accuracy": n / 100} for n in reversed(range(50))}
    figure = gesture.by_subject({"network": scores, "forest": scores})
    shown = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert shown == [str(n) for n in range(gesture.MOST_SUBJECTS)]
    assert figure.get_figwidth() < 20
