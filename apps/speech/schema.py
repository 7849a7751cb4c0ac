"""What a finished run knows beside its weights; kept in schema.json. Imports no TensorFlow."""

from dataclasses import dataclass
from pathlib import Path

from apps.speech import language, lexicon
from apps.speech.alphabet import Alphabet
from apps.speech.config import SearchConfig, SpeechConfig
from apps.speech.grammar import Grammar
from apps.speech.language import NGrams
from apps.speech.lexicon import Lexicon
from apps.speech.scoring import Scorer
from apps.speech.utterances import RATE, Corpus
from common import files
from common.config import from_json
from common.errors import UserError
from common.runs import Run, read_json, write_json, write_text

LANGUAGE = "language.arpa"
SECONDS = 20.0  # of the processor for a grammar, which may say more than fits in memory


@dataclass(frozen=True)
class Schema:
    """How a run's network is to be asked, and what may be said to it."""

    folder: Path
    alphabet: Alphabet
    decoder: str
    causal: bool
    ctc_weight: float
    seconds_a_step: float
    delay: int
    """Steps that a causal answer sees ahead."""
    words: tuple[str, ...]
    grammar: Grammar | None

    @property
    def samples_a_step(self) -> int:
        """At 16 kHz."""
        return round(self.seconds_a_step * RATE)

    @property
    def by_attention(self) -> bool:
        """Whether an attention decoder has a say in the text."""
        return self.decoder != "ctc"

    def scorer(self, search: SearchConfig) -> Scorer:
        """What a search is bound by.

        Raises:
            UserError: for a lexicon or a language model that is not there or can't be read.
        """
        return Scorer(
            self.alphabet.symbols,
            self._lexicon(search.lexicon),
            self._language(search.language),
            search.language_weight,
            search.word_bonus,
        )

    def _lexicon(self, name: str | None) -> Lexicon | None:
        if name is None:
            return None
        if name == "grammar":
            if self.grammar is None:
                raise UserError("--lexicon grammar: the run's task has none; `words` may do")
            where = self.folder / "schema.json"
            try:
                with files.bounded(where, SECONDS):
                    return Lexicon(*self.grammar.arcs())
            except (ValueError, KeyError, RecursionError) as error:
                raise UserError(f"{where}: grammar: can't be read: {error}") from None
        if name == "words":
            if not self.words:
                raise UserError("--lexicon words: the run's task is open; expected a file of words")
            return lexicon.of_words(self.words)
        return lexicon.from_file(Path(name))

    def _language(self, name: str | None) -> NGrams | None:
        if name is None:
            return None
        return language.from_arpa(self.folder / LANGUAGE if name == "training" else Path(name))


def write(run: Run, config: SpeechConfig, corpus: Corpus, model: NGrams) -> None:
    """schema.json and language.arpa of a run."""
    grammar = corpus.grammar
    values = {
        "alphabet": corpus.alphabet.to_json(),
        "decoder": config.decodes,
        "causal": config.causal,
        "ctc_weight": config.ctc_weight,
        "seconds_a_step": config.seconds_a_step,
        "delay": config.delay,
        "words": list(corpus.words),
        "grammar": grammar and {"rules": dict(grammar.rules), "start": grammar.start},
    }
    write_json(run.path / "schema.json", values)
    write_text(run.path / LANGUAGE, language.to_arpa(model))


def read(run: Run) -> Schema:
    """schema.json of a run.

    Raises:
        UserError: if it is missing or can't be read.
    """
    path = run.path / "schema.json"
    found = read_json(path)
    schema = from_json(Schema, {**found, "folder": str(run.path)}, str(path))
    if not (schema.alphabet.symbols and schema.seconds_a_step > 0 and schema.delay >= 0):
        raise UserError(f"{path}: expected an alphabet, seconds_a_step above 0 and a delay")
    return schema
