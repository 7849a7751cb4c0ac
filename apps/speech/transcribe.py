"""Asks an exported network what was said: greedily in batches, or by a beam search."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from apps.speech import beam, words
from apps.speech.batches import pad
from apps.speech.beam import Hypothesis
from apps.speech.config import SearchConfig
from apps.speech.schema import Schema
from apps.speech.scoring import Scorer
from apps.speech.words import Word

BATCH = 16  # recordings side by side


@dataclass(frozen=True)
class Transcript:
    """What was written down of one recording."""

    text: str
    confidence: float
    """How likely the network finds the text, from 0 to 1; of a beam search, its share of all that
    the beam held at the end."""
    ids: tuple[int, ...]
    """Its symbols."""


@dataclass(frozen=True)
class Heard:
    """What the network heard in one recording, and when."""

    log_p: np.ndarray | None
    """Of CTC, ``[time, symbols + 1]``, the blank first; None without it."""
    looks: np.ndarray | None
    """Where the attention decoder looked for each symbol, ``[length, time]``; None without it."""
    words: tuple[Word, ...]


@dataclass
class Transcriber:
    """An exported network with the way it is to be asked.

    Args:
        model: of ``common.export.load``.
        schema: of its run.
        search: greedy, or how the beam is to be led.
    """

    model: Any
    schema: Schema
    search: SearchConfig = field(default_factory=SearchConfig)

    def __post_init__(self) -> None:
        self.scorer: Scorer = self.schema.scorer(self.search)

    def transcribe(
        self, waveforms: Sequence[np.ndarray], *, progress: bool = False
    ) -> list[Transcript]:
        """What was said in each recording ``[n]`` float32, -1 to 1."""
        order = np.argsort([len(w) for w in waveforms], kind="stable")
        size = 1 if self.search.followed else BATCH
        found: dict[int, Transcript] = {}
        for begin in tqdm(
            range(0, len(order), size), desc="listen", disable=None if progress else True
        ):
            rows = [int(row) for row in order[begin : begin + size]]
            texts = self._ask([waveforms[row] for row in rows])
            found |= dict(zip(rows, texts, strict=True))
        return [found[row] for row in range(len(waveforms))]

    def _ask(self, waveforms: list[np.ndarray]) -> list[Transcript]:
        if self.search.followed:
            return [self._searched(waveform) for waveform in waveforms]
        sound, lengths = pad(waveforms)
        answer = self._call("serving_default", waveform=sound, length=lengths)
        return [
            Transcript(text.decode(), float(confidence), tuple(int(i) for i in ids if i))
            for text, confidence, ids in zip(
                answer["text"], answer["confidence"], answer["ids"], strict=True
            )
        ]

    def _searched(self, waveform: np.ndarray) -> Transcript:
        heard = self._hear(waveform)
        width, time = self.search.followed, int(heard["steps"][0])
        ctc = heard["log_p"][0, :time] if "log_p" in heard else None
        if self.schema.by_attention:
            texts = beam.label_search(
                lambda last, states: self._say(heard, last, states),
                width,
                self.scorer,
                ctc=ctc,
                weight=self.schema.ctc_weight,
                limit=time,
            )
        else:
            assert ctc is not None
            texts = beam.prefix_search(ctc, width, self.scorer)
        return self._best(texts)

    def _best(self, texts: Sequence[Hypothesis]) -> Transcript:
        if not texts:
            return Transcript("", 0.0, ())
        scores = np.array([text.score for text in texts])
        share = float(1 / np.exp(scores - scores[0]).sum())
        return Transcript(self.schema.alphabet.decode(texts[0].ids), share, texts[0].ids)

    def listen(self, waveform: np.ndarray, transcript: Transcript) -> Heard:
        """When each word of a transcript of ``[n]`` was said, and what the network went by."""
        schema, ids = self.schema, transcript.ids
        heard = self._hear(waveform)
        time = int(heard["steps"][0])
        log_p = heard["log_p"][0, :time] if "log_p" in heard else None
        looks, said = self._looks(heard, ids) if schema.by_attention else (None, np.ones(0))
        if log_p is not None:
            spans = words.align(log_p, ids)
            confidences = words.chances(log_p, ids, spans)
        else:
            confidences = said
        if looks is not None:
            steps = looks.argmax(axis=1) if len(ids) else np.zeros(0, int)
            if log_p is None or (np.diff(steps) >= 0).all():
                spans = np.stack([steps, steps], axis=1)
        found = words.words_of(
            [schema.alphabet.symbols[i - 1] for i in ids],
            spans,
            confidences,
            words.loudness(waveform, time, schema.samples_a_step),
            schema.seconds_a_step,
            schema.causal,
        )
        return Heard(log_p, looks, tuple(found))

    def _looks(
        self, heard: dict[str, np.ndarray], ids: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where the decoder looks for each symbol, and how likely it finds it."""
        looks, said, states, last = [], [], None, 0
        for symbol in ids:
            log_p, states = self._say(heard, np.array([last], np.int32), states)
            looks.append(states["alignment"][0])
            said.append(np.exp(log_p[0, symbol]))
            last = symbol
        width = heard["states"].shape[1]
        return np.reshape(looks, [-1, width])[:, : int(heard["steps"][0])], np.array(said)

    def _hear(self, waveform: np.ndarray) -> dict[str, np.ndarray]:
        sound, lengths = pad([waveform])
        return self._call("hear", waveform=sound, length=lengths)

    def _say(
        self, heard: dict[str, np.ndarray], last: np.ndarray, states: Any
    ) -> tuple[np.ndarray, Any]:
        if states is None:
            inputs = self.model.signatures["say"].structured_input_signature[1]
            sizes = {n: s.shape[1] for n, s in inputs.items() if n.startswith("state_")}
            sizes["alignment"] = heard["states"].shape[1]
            states = {name: np.zeros([len(last), size], np.float32) for name, size in sizes.items()}
        again = {name: np.repeat(heard[name], len(last), axis=0) for name in ("states", "steps")}
        answer = self._call("say", last=last, **again, **states)
        return answer.pop("log_p"), answer

    def _call(self, signature: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        given = {name: tf.constant(value) for name, value in inputs.items()}
        answer = self.model.signatures[signature](**given)
        return {name: value.numpy() for name, value in answer.items()}
