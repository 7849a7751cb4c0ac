"""Speech by name: the synthesised tasks, real recordings for testing, and the TFDS catalogue."""

from apps.speech.config import DataConfig
from apps.speech.utterances import Corpus, Utterance

PACKAGED = ("digits", "commands")
REAL = ("prompts", "real-digits", "real-digits-telephone")


def load(config: DataConfig) -> Corpus:
    """The user's own ``config.data``, or else ``config.dataset``, in splits that never change.

    Raises:
        UserError: for whatever in them can't be used.
    """
    raise NotImplementedError


def load_test(name: str) -> tuple[Utterance, ...]:
    """Real recordings out of Debian packages: never trained on, never chosen on.

    Raises:
        UserError: for an unknown name, or if the package is not installed.
    """
    raise NotImplementedError
