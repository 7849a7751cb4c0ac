"""What stands before a sentiment run's ``read`` where there is no TensorFlow: text to the numbers
of its words. Python alone, to be read and rewritten in another language.

    vocabulary = Path("RUN/vocabulary.txt").read_text(encoding="utf-8").split("\\n")[:-1]
    words = word_numbers("Not bad at all.", vocabulary)
"""

import re
import unicodedata
from collections.abc import Sequence


def word_numbers(text: str, vocabulary: Sequence[str], longest: int = 1000) -> list[int]:
    """The line of each word in `vocabulary`, counted from 0; 1 where it is not there. Of texts of
    more than `longest` words (``max_tokens`` of the run's config.json) the first and last
    halves are read."""
    text = re.sub(r"<br[\t\n\f\r ]*/?>", " ", text.lower()).replace("’", "'")
    spaced = "".join(
        sign if part_of_word(text, place) or sign in " \t\n\f\r" else f" {sign} "
        for place, sign in enumerate(text)
    )
    words = re.split(r"[ \t\n\v\f\r]+", spaced.strip(" \t\n\v\f\r"))
    words = [word for word in words if word]
    if len(words) > longest:
        words = words[: longest // 2] + words[longest // 2 - longest :]
    numbers = {word: number for number, word in reversed(list(enumerate(vocabulary)))}
    return [numbers.get(word, 1) for word in words]


def part_of_word(text: str, place: int) -> bool:
    """Letters, numbers and accents are; an apostrophe is, with a letter on either side."""
    if text[place] != "'":
        return unicodedata.category(text[place])[0] in "LNM"
    around = text[max(0, place - 1) : place], text[place + 1 : place + 2]
    return all(sign and unicodedata.category(sign)[0] == "L" for sign in around)
