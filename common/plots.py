"""Pictures that several applications show. Each returns a matplotlib figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from common.runs import write_whole


def plain(text: object) -> str:
    """What a user's data name, as a picture shows it: a dollar sign would begin a formula."""
    return str(text).replace("$", r"\$")


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG."""
    write_whole(path, lambda neighbour: figure.savefig(neighbour, dpi=120))


def save_training(
    history: Sequence[dict[str, float]],
    flow: Mapping[str, np.ndarray],
    folder: Path,
    metric: str,
    *,
    loss: str = "loss",
) -> None:
    """learning_curves.png and, of a `flow` ``[times recorded, time]`` by layer that was recorded,
    gradient_flow.png; arguments as below."""
    save(learning_curves(history, metric, loss=loss), folder / "learning_curves.png")
    if flow:
        save(gradient_flow(flow), folder / "gradient_flow.png")


def learning_curves(
    history: Sequence[dict[str, float]], metric: str, *, loss: str = "loss"
) -> Figure:
    """Loss and `metric` over epochs, training and validation.

    Args:
        history: rows as ``common.training.fit`` leaves them.
        loss: what the validation scores call the loss.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    epochs = [row["epoch"] for row in history]
    panels = (("loss", f"val_{loss}"), (metric, f"val_{metric}"))
    for axes, names in zip(figure.subplots(1, 2), panels, strict=True):
        for name, label in zip(names, ("training", "validation"), strict=True):
            if history and name in history[0]:
                axes.plot(epochs, [row[name] for row in history], marker="o", label=label)
        axes.set(xlabel="epoch", ylabel=names[0])
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if history:
            axes.legend()
    return figure


def confusion_matrix(counts: np.ndarray, classes: Sequence[str]) -> Figure:
    """How often each true class (rows) was given each label (columns).

    Args:
        counts: ``[classes, classes]``.
    """
    size = max(4.2, 0.5 * len(classes) + 2)
    figure = Figure(figsize=(size, size * 0.9), layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    figure.colorbar(image, label="share of the true class")
    ticks, names = np.arange(len(classes)), [plain(name) for name in classes]
    axes.set_xticks(
        ticks,
        names,
        rotation=45 if len(classes) > 3 else 0,
        ha="right" if len(classes) > 3 else "center",
    )
    axes.set_yticks(ticks, names)
    axes.set(xlabel="predicted", ylabel="true")
    if len(classes) <= 20:
        for row, column in np.ndindex(*counts.shape):
            colour = "white" if shares[row, column] > 0.5 else "black"
            text = f"{counts[row, column]:,}\n{shares[row, column]:.0%}"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    return figure


def gradient_flow(history: Mapping[str, np.ndarray]) -> Figure:
    """Norms of the gradient that reaches each time step: a row of two panels for each layer,
    the curve at first and at last, and all of training as a heat map.

    Args:
        history: layer -> ``[times recorded, time]``, from ``common.monitoring.GradientFlow``.
    """
    figure = Figure(figsize=(9, 2.8 * len(history)), layout="constrained")
    grid = figure.subplots(len(history), 2, squeeze=False)
    for (name, norms), (curve, heat) in zip(history.items(), grid, strict=True):
        least = norms[norms > 0].min() if (norms > 0).any() else 1.0
        logs = np.log10(np.maximum(norms, least))
        for place, label in {0: "at first", len(norms) - 1: "at last"}.items():
            curve.semilogy(10 ** logs[place], label=label)
        curve.set(xlabel="time step", ylabel="norm of dL/ds", title=name)
        curve.grid(alpha=0.3)
        curve.legend()
        image = heat.imshow(logs, aspect="auto", origin="lower", interpolation="nearest")
        heat.set(xlabel="time step", ylabel="epoch", title="log10 of the norm, over training")
        heat.yaxis.get_major_locator().set_params(integer=True)
        figure.colorbar(image, ax=heat)
    return figure
