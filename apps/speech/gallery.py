"""What the page of a run shows and plays: what the network heard in a test utterance and went by,
utterances that it wrote down rightly and wrongly, the data, and how to ask the run."""

from collections.abc import Mapping, Sequence
from typing import Any

from apps.speech import report
from apps.speech.config import SpeechConfig
from apps.speech.metrics import counts
from apps.speech.utterances import RATE, Corpus
from common.page import Block, Picture, Section, Sound, Text, about_data, asking
from common.runs import Run

SPOKEN = (
    "by voices of espeak-ng, from the pip package espeakng-loader (GPL-3, which does not cover "
    "what it says), and, in the training part, of flite where Debian's libflite1 is installed. No "
    "voice is in two parts."
)
SOURCES = {
    **dict.fromkeys(("digits", "digits-few"), f"Strings of digits, said {SPOKEN}"),
    **dict.fromkeys(("commands", "commands-few"), f"Orders to a house, said {SPOKEN}"),
}
PLAYED = 3  # utterances of each kind
LONGEST = 15.0  # seconds of one that is played


def sections(
    config: SpeechConfig,
    result: Mapping[str, Any],
    run: Run,
    corpus: Corpus,
    texts: Sequence[str],
) -> list[Section]:
    """The sections of a run's page.

    Args:
        result: what metrics.json will hold.
        texts: what the network wrote down of each utterance of the test part.
    """
    ways = {"ctc": "the spikes of CTC", "attention": "where the attention looked"}
    went_by = ways.get(result["decoder"], " and ".join(ways.values()))
    worst = next(iter(result["by_speaker"].items()))
    return [
        Section(
            "What was heard",
            [
                Picture(
                    run.plots / "heard.png",
                    f"Spectrogram of a test utterance with the words that were heard in it, and "
                    f"{went_by}",
                ),
                Picture(
                    run.plots / "errors.png",
                    f"Word error rates of the test part by the number of words said and by voice; "
                    f"the hardest voice is {worst[0]} with {worst[1]['wer']:.1%}",
                ),
            ],
        ),
        Section("Examples", examples(corpus, texts)),
        about_data(result["dataset"], config.data, SOURCES),
        asking(report.commands(result, run.path)),
    ]


def examples(corpus: Corpus, texts: Sequence[str]) -> list[Block]:
    """To listen to: the test utterances with most word errors, and the longest without any; none
    longer than ``LONGEST``."""
    test = corpus.test
    errors = counts([u.text for u in test], texts, "words")["errors"]
    short = [n for n, utterance in enumerate(test) if utterance.seconds <= LONGEST]
    wrong = sorted((n for n in short if errors[n]), key=lambda n: -errors[n])
    right = sorted((n for n in short if not errors[n]), key=lambda n: -len(test[n].text.split()))
    blocks: list[Block] = []
    for kind, places in (("wrongly", wrong), ("rightly", right)):
        for n in places[:PLAYED]:
            who = f" ({test[n].speaker})" if test[n].speaker else ""
            told = f"written down {kind}: said {test[n].text!r}, written {texts[n]!r}{who}"
            blocks.append(Sound(told, test[n].waveform, RATE))
        if not places:
            blocks.append(Text(f"No test utterance of at most {LONGEST:.0f} s is written {kind}."))
    return blocks
