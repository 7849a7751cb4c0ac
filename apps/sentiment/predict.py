"""Labels texts with an exported model, and shows how each answer came about."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.sentiment.config import PredictConfig
from common import files
from common.cli import main, start_tensorflow
from common.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

BATCH = 64


def run(config: PredictConfig) -> None:
    """Answers for the texts of the command line, of --data, or of stdin."""
    from common import runs

    finished = runs.finished("sentiment", config.run)
    check(config)
    start_tensorflow()  # only now: the errors above come without the wait

    import pandas as pd

    from apps.sentiment.texts import check_length, read_texts
    from common import export

    if config.data is not None:
        table, texts = read_texts(config.data, config.text_column)
    else:
        texts = list(config.texts) or list(stdin_lines())
        table = pd.DataFrame({"text": texts})
        for number, text in enumerate(texts, 1):
            check_length(text, f"text {number}")
    model = export.load(finished.export, "serving_default", "trajectory")
    if config.explain:
        explain(model, texts, config.png)
        return
    classes, probabilities = label(model, texts, progress=config.data is not None)
    if config.data is not None:
        write(scored(table, classes, probabilities), config.out)
        return
    for text, row in zip(texts, probabilities, strict=True):
        best = int(row.argmax())
        print(f"{classes[best]}\t{row[best]:.4f}\t{' '.join(text.split())}")


def check(config: PredictConfig) -> None:
    """Raises UserError for flags that can't be used together, or name nothing."""
    if config.data is not None and config.texts:
        raise UserError("expected texts or --data, found both")
    for number, text in enumerate(config.texts, 1):
        try:
            text.encode()
        except UnicodeEncodeError:  # the shell gave bytes that Python could only smuggle in
            raise UserError(f"text {number}: expected UTF-8 text") from None
    if config.data is not None and not config.data.is_file():
        raise UserError(f"--data {config.data}: no such file")
    if config.out is not None and config.data is None:
        raise UserError("--out goes with --data")
    if config.out is not None and config.explain:
        raise UserError("--out goes without --explain, which writes --png")
    if config.out is not None and not config.out.absolute().parent.is_dir():
        raise UserError(f"--out {config.out}: no such folder")
    if config.explain and not config.png.absolute().parent.is_dir():
        raise UserError(f"--png {config.png}: no such folder")


def stdin_lines() -> Iterator[str]:
    """The lines of stdin.

    Raises:
        UserError: at a terminal, where nothing is piped in; for bytes that are not UTF-8.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise UserError("no text: expected texts in quotes, --data, or lines on stdin")
    count = 0
    for _, line in files.decoded(sys.stdin.buffer, "stdin"):
        count += 1
        yield line
    if not count:
        raise UserError("stdin: no lines in it")


def label(
    model: Any, texts: Sequence[str], *, progress: bool = False
) -> tuple[list[str], "np.ndarray"]:
    """Names of the classes, and probabilities ``[texts, classes]``; long and short texts
    apart, so that short ones are not padded to long ones."""
    import numpy as np
    import tensorflow as tf
    from tqdm import tqdm

    order = np.argsort([len(text) for text in texts], kind="stable")
    starts = range(0, len(texts), BATCH)
    probabilities: np.ndarray | None = None
    for start in tqdm(starts, desc="label", unit="batch", disable=None if progress else True):
        rows = order[start : start + BATCH]
        answers = model.signatures["serving_default"](text=tf.constant([texts[i] for i in rows]))
        if probabilities is None:
            classes = [name.decode() for name in answers["classes"].numpy()]
            probabilities = np.zeros((len(texts), len(classes)), np.float32)
        probabilities[rows] = answers["probabilities"].numpy()
    assert probabilities is not None
    return classes, probabilities


def scored(
    table: "pd.DataFrame", classes: Sequence[str], probabilities: "np.ndarray"
) -> "pd.DataFrame":
    """The user's table with the predicted label and each class's probability beside it, of ``[rows,
    classes]``."""
    answer = table.copy()
    answer["predicted"] = [classes[i] for i in probabilities.argmax(axis=1)]
    for index, name in enumerate(classes):
        answer[f"p_{name}"] = probabilities[:, index]
    return answer


def write(table: "pd.DataFrame", path: Path | None) -> None:
    """As CSV, to `path` or else to stdout."""
    from common.runs import write_whole

    if path is None:
        table.to_csv(sys.stdout, index=False)
    else:
        write_whole(path, lambda neighbour: table.to_csv(neighbour, index=False))
        print(f"{len(table):,} rows written to {path}")


def explain(model: Any, texts: Sequence[str], png: Path) -> None:
    """Prints each text with its words coloured by where the probability stood after them, and
    draws the same as a picture."""
    import tensorflow as tf
    from rich.console import Console

    from apps.sentiment import plots
    from common.plots import save

    classes, _ = label(model, texts[:1])
    console = Console(highlight=False, soft_wrap=True)
    drawn = []
    for text in texts:
        answer = model.signatures["trajectory"](text=tf.constant([text]))
        tokens = [token.decode() for token in answer["tokens"].numpy()[0]]
        probabilities = answer["probabilities"].numpy()[0]
        if tokens:
            print_trajectory(console, tokens, probabilities, classes)
            drawn.append((tokens, probabilities))
        else:
            console.print("(no words)")
    if drawn:
        save(plots.trajectories(drawn[:6], classes), png)
        more = f" (the first 6 of {len(drawn)})" if len(drawn) > 6 else ""
        console.print(f"picture: {png}{more}")


def print_trajectory(
    console: Any, tokens: Sequence[str], probabilities: "np.ndarray", classes: Sequence[str]
) -> None:
    """One text, probabilities ``[words, classes]``: of two classes red to green, the second one's;
    else the final answer's."""
    from rich.text import Text

    best = int(probabilities[-1].argmax())
    shown = 1 if len(classes) == 2 else best
    line = Text()
    for token, value in zip(tokens, probabilities[:, shown], strict=True):
        red, green = round(200 * (1 - value)), round(160 * value)
        line.append(token, style=f"white on rgb({red},{green},60)")
        line.append(f" {value:.2f} ", style="dim")
    console.print(line)
    answer = f"{classes[best]} {probabilities[-1, best]:.4f}"
    console.print(f"= {answer}  (after each word: probability of {classes[shown]})\n")


if __name__ == "__main__":
    main(run, PredictConfig, prog="python -m apps.sentiment.predict")
