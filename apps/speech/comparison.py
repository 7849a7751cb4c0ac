"""What a network hears while it is trained, and what others make of the same recordings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from apps.speech import baselines, metrics, plots, schema
from apps.speech.alphabet import Alphabet
from apps.speech.batches import SpeechBatches, pad
from apps.speech.config import SearchConfig
from apps.speech.decoding import Texts, greedy, score
from apps.speech.model import Recogniser
from apps.speech.objectives import before_and_after
from apps.speech.serving import Serving
from apps.speech.transcribe import Transcriber
from apps.speech.utterances import RATE, Corpus, Utterance
from common import export
from common.monitoring import Monitor
from common.runs import Run

SHOWN = 4  # utterances that TensorBoard lets one listen to


@dataclass(frozen=True)
class Greedy:
    """What the network writes down of some utterances, in their order."""

    texts: list[str]
    confidences: np.ndarray
    loss: float
    """Nats a symbol of what was really said, by the score that decodes."""


class Listener:
    """Greedy answers of a network as it is, in batches of like length.

    Args:
        exported: the network with its symbols.
        alphabet: of the utterances' texts.
        batch_size: utterances side by side.
    """

    def __init__(self, exported: Serving, alphabet: Alphabet, batch_size: int) -> None:
        self.exported, self.alphabet, self.batch_size = exported, alphabet, batch_size
        self.function = _compiled(exported)

    def listen(self, utterances: Sequence[Utterance]) -> Greedy:
        """What was said in all of them."""
        batches = SpeechBatches(utterances, self.alphabet, self.batch_size)
        texts: list[bytes] = []
        confidences, losses = [], []
        for sound, targets in batches.in_order():
            found = self.function(*sound, *targets)
            texts += list(found[0].numpy())
            confidences += list(found[1].numpy())
            losses += list(found[2].numpy())
        return Greedy(
            [text.decode() for text in batches.restore(texts)],
            np.array(batches.restore(confidences)),
            float(np.mean(losses)),
        )

    def draw(self, utterance: Utterance) -> Figure:
        """One utterance, and what the network hears in it."""
        network = self.exported.network
        waveform, length = pad([utterance.waveform])
        encoded = network((tf.constant(waveform), tf.constant(length)), training=False)
        texts, _ = greedy(network, encoded)
        written, steps = self.alphabet.decode(texts.ids[0].numpy()), int(encoded.lengths[0])
        log_p, looks = None, None
        if network.by_ctc:
            log_p = tf.nn.log_softmax(network.ctc_logits(encoded.states))[0, :steps].numpy()
        if network.by_attention:
            given, _ = before_and_after(*texts, network.decoder.end)
            looks = network.decoder(network.memory(encoded), given)[1][0, :-1, :steps].numpy()
        return plots.heard(
            utterance.waveform,
            self.alphabet.symbols,
            [int(i) for i in texts.ids[0]],
            network.settings.seconds_a_step,
            log_p=log_p,
            looks=looks,
            title=f"said {utterance.text!r}, written {written!r}",
        )


def _compiled(exported: Serving) -> Any:
    network: Recogniser = exported.network

    def spec(*shape: int | None, dtype: Any = tf.int32) -> tf.TensorSpec:
        return tf.TensorSpec(shape, dtype)

    inputs = [spec(None, None, dtype=tf.float32), spec(None), spec(None, None), spec(None)]

    @tf.function(input_signature=inputs)
    def answers(waveform: Any, samples: Any, ids: Any, lengths: Any) -> Any:
        encoded = network((waveform, samples), training=False)
        texts, log_p = greedy(network, encoded)
        said = score(network, encoded, Texts(ids, lengths))
        loss = -said / tf.cast(lengths + 1, tf.float32)
        return exported.text(texts), tf.exp(tf.minimum(log_p, 0.0)), loss

    return answers.get_concrete_function()


def show(
    board: Monitor, listener: Listener, utterances: Sequence[Utterance], heard: Greedy, step: int
) -> None:
    """A few utterances for TensorBoard: their sound, what was written down of them, and a picture
    of what was heard in the longest of them."""
    lines = ["| | said | written | confidence |", "|---|---|---|---|"]
    for number, utterance in enumerate(utterances[:SHOWN]):
        text, confidence = heard.texts[number], heard.confidences[number]
        lines.append(f"| {number} | {utterance.text} | {text} | {confidence:.2f} |")
        board.audio(f"utterance/{number}", utterance.waveform, RATE, step)
    board.text("heard", "\n".join(lines), step)
    longest = max(utterances[:SHOWN], key=lambda u: len(u.text))
    board.figure("heard", listener.draw(longest), step)


def searches(run: Run, corpus: Corpus) -> dict[str, metrics.Scores]:
    """Scores of the exported network when it may write nothing but the task's words, on the test
    part; nothing for an open task."""
    if not corpus.words:
        return {}
    search = SearchConfig(lexicon="words")
    transcriber = Transcriber(export.load(run.export), schema.read(run), search)
    found = transcriber.transcribe([u.waveform for u in corpus.test], progress=True)
    return {"with the lexicon": metrics.scores(corpus.test, [t.text for t in found])}


def single_words(
    corpus: Corpus, texts: Sequence[str]
) -> tuple[metrics.Scores, dict[str, metrics.Scores]]:
    """On the test utterances of one word, where there are such: the network's scores, from its
    `texts` of the whole test part, and the template matcher's."""
    places = baselines.single_words(corpus.test)
    if not places:
        return {}, {}
    said = [corpus.test[place] for place in places]
    print(f"matching templates with {len(said):,} single words ...", flush=True)
    matched = baselines.template_matcher(corpus.train, said)
    if matched is None:
        return {}, {}
    own = metrics.scores(said, [texts[place] for place in places])
    return own, {"template_matcher": metrics.scores(said, matched)}


def picture(run: Run, utterances: Sequence[Utterance]) -> Figure:
    """What the exported network heard in the first utterance of several words."""
    utterance = next((u for u in utterances if len(u.text.split()) > 2), utterances[0])
    transcriber = Transcriber(export.load(run.export), schema.read(run))
    return draw(transcriber, utterance.waveform, f"{utterance.name}: said {utterance.text!r}")


def draw(transcriber: Transcriber, waveform: np.ndarray, title: str) -> Figure:
    """A recording, ``[n]`` from -1 to 1, and what the network heard in it."""
    transcript = transcriber.transcribe([waveform])[0]
    heard = transcriber.listen(waveform, transcript)
    return plots.heard(
        waveform,
        transcriber.schema.alphabet.symbols,
        transcript.ids,
        transcriber.schema.seconds_a_step,
        log_p=heard.log_p,
        looks=heard.looks,
        words=heard.words,
        title=f"{title}, written {transcript.text!r} ({transcript.confidence:.2f})",
    )
