r"""What a composer learns from: the likelihood of the pieces.

.. math:: L = -\frac{1}{\bar T} \sum_t \log p(x_t \mid x_{<t})

for each piece, :math:`\bar T` the mean length of the training pieces, so that every frame of the
corpus weighs alike.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from apps.music.pieces import Piece
from common.losses import over_time
from common.trainer import Objective


def likelihood(network: Any, pieces: Sequence[Piece]) -> Objective:
    """The objective of training over `pieces`."""
    length = float(np.mean([len(piece) for piece in pieces]))

    def objective(
        inputs: Mapping[str, tf.Tensor], lengths: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        mask = inputs["mask"]
        losses = network(inputs["frames"], inputs["clock"], inputs["key"], mask, training=True)
        return over_time(losses, mask, "sum") / length, {}

    return objective
