"""The identity start of a recurrent kernel."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="common.initializers")
class ScaledIdentity(keras.initializers.Initializer):
    r"""A recurrent kernel that starts as :math:`g I` (Le, Jaitly & Hinton 2015).

    At :math:`g = 1`, with ReLU and a zero bias, a state without input stays as it is; a
    smaller gain forgets it at that rate a step. (``keras.initializers.Identity`` is the same
    but, in Keras 3.15, forgets its gain when it is saved.)

    Args:
        gain: :math:`g`.
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """`shape` is that of a matrix ``[rows, columns]``."""
        return self.gain * ops.eye(*shape, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain}
