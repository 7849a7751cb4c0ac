"""What several workers say to each other beside gradients (``common.cluster`` has who they are).

All of it comes from the chief: where a training stands, whether it goes on, and the values of
all variables when a training begins, is resumed, or takes its best weights. No worker has to see
the chief's files, and no two can disagree.
"""

import contextlib
import faulthandler
import zlib
from collections.abc import Mapping, Sequence

import tensorflow as tf

from common import cluster
from common.config import TrainConfig, to_json
from common.data import Shares
from common.errors import UserError

SUM = tf.distribute.ReduceOp.SUM
OWN = ("run_dir", "resume", "data", "init_from", "checkpoint_minutes", "keep_checkpoints")
"""Fields of a configuration that workers may differ in: paths, and what only the chief does."""


_joined: list[tf.distribute.Strategy] = []  # the one of this process: TensorFlow allows no second


def strategy(minutes: float) -> tf.distribute.Strategy:
    """The one of this process, once all workers have come, which they have `minutes` for.

    Raises:
        UserError: if the server of this worker can't be started.
    """
    if not _joined:
        here = cluster.place()
        cluster.gather(minutes)
        # One may still end before TensorFlow has met it: then nothing but this ends the wait.
        faulthandler.dump_traceback_later(60 * minutes, exit=True)
        try:
            _joined.append(tf.distribute.MultiWorkerMirroredStrategy())
        except (tf.errors.OpError, RuntimeError, ValueError) as error:
            raise UserError(f"{here}: can't join the others: {error}") from None
        finally:
            faulthandler.cancel_dump_traceback_later()
    return _joined[0]


def joined() -> bool:
    """Whether this process is one of several by now."""
    return bool(_joined)


def several(strategy: tf.distribute.Strategy) -> bool:
    """Whether it is of several workers."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process validates, tests, exports and writes: the only one, or the chief."""
    return not several(strategy) or cluster.place().chief


def shares(strategy: tf.distribute.Strategy) -> Shares:
    """Which rows of each batch are made here."""
    replicas = strategy.num_replicas_in_sync
    if not several(strategy):
        return Shares(0, replicas, replicas)
    here = cluster.place()
    each = replicas // len(here.addresses)
    return Shares(each * here.index, each, replicas)


def from_chief(strategy: tf.distribute.Strategy, numbers: Sequence[float]) -> list[float]:
    """The chief's `numbers`, on every worker."""
    if not several(strategy):
        return list(numbers)
    return _of_the_chief(tf.constant(numbers, tf.float64)).numpy().tolist()


@tf.function(input_signature=[tf.TensorSpec([None], tf.float64)])  # traced once, for any length
def _of_the_chief(own: tf.Tensor) -> tf.Tensor:
    (group,) = _joined

    def of_the_first() -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        first = context.replica_id_in_sync_group == 0
        return context.all_reduce(SUM, tf.where(first, own, tf.zeros_like(own)))

    return group.experimental_local_results(group.run(of_the_first))[0]


def share(strategy: tf.distribute.Strategy, variables: Sequence[tf.Variable]) -> None:
    """Gives every worker the chief's values of `variables`."""
    if not several(strategy):
        return
    # Exact, and one message. What a float64 can't hold, a whole number above 2^53, is in no model.
    own = [tf.reshape(tf.cast(variable, tf.float64), [-1]) for variable in variables]
    theirs = _of_the_chief(tf.concat(own, 0))
    if not is_chief(strategy):
        parts = tf.split(theirs, [len(part) for part in own])
        for variable, part in zip(variables, parts, strict=True):
            variable.assign(tf.cast(tf.reshape(part, variable.shape), variable.dtype))


def require_equal(
    strategy: tf.distribute.Strategy, config: TrainConfig, counts: Mapping[str, int]
) -> None:
    """Raises UserError on a worker that was started with other flags, or has other data, than the
    chief: it would train something else, or wait for ever."""
    if not several(strategy):
        return
    values = {k: v for k, v in to_json(config).items() if k not in OWN} | dict(counts)
    own = [float(zlib.crc32(repr(value).encode())) for value in values.values()]
    of_the_chief = from_chief(strategy, [len(own)])
    equal = of_the_chief == [len(own)]
    theirs = from_chief(strategy, own) if equal else []
    for (name, value), one, other in zip(values.items(), own, theirs or own, strict=True):
        equal = equal and one == other
        if not equal:
            raise UserError(
                f"{cluster.place()}: {name} ({value!r}) differs from the chief's: start all "
                "workers with the same flags and data"
            )


def meet() -> None:
    """Returns when every worker has called it, and each knows that."""
    for group in _joined:
        from_chief(group, [0.0])
        with contextlib.suppress(tf.errors.OpError):  # whoever has left knows by the first
            from_chief(group, [0.0])
