r"""A linear forecaster in the manner of DLinear (Zeng et al. 2023, arXiv:2205.13504).

A window :math:`x` of L rows is taken apart into its moving average over 25 rows, its ends
repeated, and the rest; each has a linear layer of its own, shared by all series and targets:

.. math::
    t = \mathrm{mean}_{25}(x), \qquad \hat y = W_s (x - t) + b_s + W_t t + b_t

Trained as its authors' scripts do (github.com/cure-lab/LTSF-Linear): values standardised by the
training part; every weight begins at 1/L; Adam on the squared error; the rate halved after every
epoch but the first; at most 10 epochs, the best on validation kept, 3 without a better one end it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from apps.timeseries.panel import Cuts, Panel, gather, origins
from apps.timeseries.standardise import before, carried, moments, standardised
from common.errors import UserError

AVERAGED = 25
EPOCHS, PATIENCE = 10, 3


@dataclass(frozen=True)
class Settings:
    """What the authors' scripts change from one dataset to another."""

    history: int = 336
    """Rows that it looks back."""
    batch_size: int = 16
    learning_rate: float = 1e-3


@dataclass(frozen=True)
class Linear:
    """A trained one."""

    point: Callable[[np.ndarray], np.ndarray]
    """Origins ``[windows, 2]`` to point forecasts ``[windows, horizon, targets]``, in the
    targets' units."""
    parameters: int
    epochs: int
    """So many were trained."""


def build(history: int, horizon: int) -> Any:
    """``[batch, history, targets]`` to ``[batch, horizon, targets]``, standardised."""
    import keras
    from keras import layers, ops

    def linear(name: str) -> Any:
        bound = history**-0.5
        return layers.Dense(
            horizon,
            kernel_initializer=keras.initializers.Constant(1 / history),
            bias_initializer=keras.initializers.RandomUniform(-bound, bound),
            name=name,
        )

    window = keras.Input((history, None))
    ends = (AVERAGED - 1) // 2
    first, last = (ops.repeat(end, ends, axis=1) for end in (window[:, :1], window[:, -1:]))
    whole = ops.concatenate([first, window, last], axis=1)
    trend = ops.average_pool(whole, AVERAGED, strides=1, padding="valid")
    rows = [ops.transpose(part, (0, 2, 1)) for part in (window - trend, trend)]
    said = linear("rest")(rows[0]) + linear("trend")(rows[1])
    return keras.Model(window, ops.transpose(said, (0, 2, 1)))


def fit(panel: Panel, cuts: Cuts, horizon: int, settings: Settings, seed: int) -> Linear:
    """Trains one on the training part of `panel`.

    Raises:
        UserError: if that has no window of so many rows.
    """
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    known = standardised(panel, cuts)

    def history(windows: np.ndarray) -> np.ndarray:
        return carried(gather(known, windows, -settings.history, 0, "target"), 0)

    def pairs(part: str) -> tuple[np.ndarray, np.ndarray]:
        windows = origins(panel, cuts, part, settings.history, horizon)
        if not len(windows):
            raise UserError(
                f"--linear.history {settings.history}: the {part} part of {panel.name} has no "
                f"window of so many rows and {horizon} of forecast"
            )
        return history(windows), carried(gather(known, windows, 0, horizon, "target"), 0)

    model = build(settings.history, horizon)
    model.compile(optimizer=keras.optimizers.Adam(settings.learning_rate), loss="mse")
    done = model.fit(
        *pairs("train"),
        batch_size=settings.batch_size,
        epochs=EPOCHS,
        validation_data=pairs("validation"),
        verbose=0,
        callbacks=[
            keras.callbacks.LearningRateScheduler(
                lambda epoch: settings.learning_rate * 0.5 ** max(0, epoch - 1)
            ),
            keras.callbacks.EarlyStopping(patience=PATIENCE, restore_best_weights=True),
        ],
    )
    answer = tf.function(model, input_signature=[tf.TensorSpec([None, settings.history, None])])
    mean, deviation = moments([series.target for series in before(panel, cuts.train)])

    def point(windows: np.ndarray) -> np.ndarray:
        begins = range(0, len(windows), 1000)
        said = [answer(tf.constant(history(windows[b : b + 1000]))).numpy() for b in begins]
        series = windows[:, 0]
        return np.concatenate(said) * deviation[series, np.newaxis] + mean[series, np.newaxis]

    return Linear(point, model.count_params(), len(done.epoch))
