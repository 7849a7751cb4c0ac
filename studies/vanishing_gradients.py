r"""How much of a loss at the end reaches the states before it.

With a loss :math:`L_T` on the last state only, the gradient comes back through a product of
Jacobians,

.. math::
    \frac{\partial L_T}{\partial h_{T-k}}
        = \frac{\partial L_T}{\partial h_T} \prod_{j=0}^{k-1}
          \frac{\partial h_{T-j}}{\partial h_{T-j-1}} .

In a plain cell each factor is :math:`\mathrm{diag}(\phi') W_{hh}^\top` (for rows), and where
:math:`|\phi'| \le 1`, as with tanh and ReLU, its norm is at most the largest singular value
:math:`\sigma` of :math:`W_{hh}`:

.. math::
    \Big\| \frac{\partial L_T}{\partial h_{T-k}} \Big\|
        \le \sigma^k \, \Big\| \frac{\partial L_T}{\partial h_T} \Big\| .

With :math:`\sigma < 1` the gradient therefore vanishes, and with tanh it does so even at
:math:`\sigma = 1`, wherever the units are not at rest; :math:`\sigma > 1` is needed, and does
not suffice, for it to explode (Hochreiter 1991; Bengio, Simard & Frasconi 1994; Pascanu,
Mikolov & Bengio 2013, arXiv:1211.5063). The remedies are in ``common.cells``: slope and kernel
exactly one (irnn), or a path through gates around the kernel.

Measured is the norm over the whole state (of an LSTM h and c together) for each example, and
of these norms the mean over a batch; shown is its ratio to that at k = 0. The loss is that of
the adding problem (``studies.adding_problem``), before and after a short training on it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
from matplotlib.figure import Figure

from common import plots
from common.cli import main, start_tensorflow
from studies import adding_problem, report
from studies.config import Recipe, StudyConfig

if TYPE_CHECKING:
    import keras

    from studies.training import Examples

Variant = Literal["relu", "small"]
PLAIN = Recipe(learning_rate=3e-4, steps=2000, decay="constant", batch_size=16, units=40)
GATED = replace(PLAIN, learning_rate=3e-3)
RECIPES = dict.fromkeys(("simple", "irnn", "relu", "small"), PLAIN)


@dataclass(frozen=True)
class GradientsConfig(StudyConfig):
    """Gradient norms going back in time, at the start and after a short training."""

    variants: tuple[Variant, ...] = get_args(Variant)
    """Plain cells beside --cells: relu (orthogonal start), small (tanh, 0.9 times orthogonal)."""
    length: int = 100
    """Steps to go back, k."""
    rows: int = 200
    """Examples over which the norms are averaged."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("length", "rows"):
            self.require(name, getattr(self, name) > 0, "above 0")


class Profile(NamedTuple):
    """Gradient norms of a network, and what bounds them."""

    norms: np.ndarray  # at k = 0, 1, ...
    sigma: float | None  # largest singular value of the recurrent kernel of a plain cell

    @property
    def ratios(self) -> np.ndarray:
        """The norms divided by that at k = 0, ``[k]``."""
        return self.norms / self.norms[0]

    @property
    def bounds(self) -> np.ndarray | None:
        """``[k]``: sigma to the power of k; None where there is no sigma."""
        return None if self.sigma is None else self.sigma ** np.arange(len(self.norms))


def make(name: str, units: int) -> Any:
    """The cell or variant of that name."""
    import keras

    from common.cells import make_cell

    if name == "relu":
        return make_cell("simple", units, activation="relu")
    if name == "small":
        start = keras.initializers.Orthogonal(gain=0.9)
        return make_cell("simple", units, recurrent_initializer=start)
    return make_cell(name, units)


def profile(model: "keras.Model", examples: "Examples") -> Profile:
    """The mean norm of the gradient with respect to each state of a network, last to first."""
    import tensorflow as tf

    from common import recurrence
    from common.cells import SimpleRNNCell

    cell, output = model.get_layer("recurrent").cell, model.get_layer("output")
    widths = np.ravel(cell.state_size)  # one for each state that the cell carries
    probes = [tf.zeros([*examples.x.shape[:2], width]) for width in widths]
    with tf.GradientTape() as tape:
        tape.watch(probes)
        states, _ = recurrence.run(cell, tf.constant(examples.x), probes=probes)
        # A sum over the examples, so that each has a gradient of its own.
        loss = tf.reduce_sum(tf.square(output(states[:, -1])[:, 0] - examples.y))
    gradients = tf.concat(tape.gradient(loss, probes), axis=-1)
    norms = tf.linalg.norm(tf.cast(gradients, tf.float64), axis=-1)  # small ones can be squared
    sigma = None
    if isinstance(cell, SimpleRNNCell):
        sigma = float(np.linalg.norm(np.asarray(cell.recurrent_kernel.value), ord=2))
    return Profile(norms.numpy().mean(axis=0)[::-1], sigma)


def case(name: str, config: GradientsConfig) -> Iterator[tuple[str, Profile, float]]:
    """One cell at the start and after training: its profile and its mean squared error."""
    import keras

    from studies import training

    keras.utils.set_random_seed(config.seed)
    time = 1 + (10 if config.quick else config.length)
    recipe = config.recipe(RECIPES.get(name, GATED))
    model = training.over_time(make(name, recipe.units), (time, 2), 1, every_step=False)
    model.get_layer("output").bias.assign([1.0])
    measured = adding_problem.examples(np.random.default_rng([0, 1, 3]), config.rows, time)
    validation, _ = adding_problem.held_out(time, config.seed, config.quick)
    rng = np.random.default_rng([config.seed, 1])
    start = profile(model, measured)
    trained = training.fit(
        model,
        adding_problem.mean_squared_error,
        recipe,
        lambda count: adding_problem.examples(rng, count, time),
        validation,
        minutes=config.minutes,
        label=name,
    )
    yield "start", start, trained.looks[0].validation
    yield "trained", profile(model, measured), trained.best


def summary(name: str, phase: str, found: Profile, error: float) -> report.Row:
    """A row of the table: the ratio at three distances."""
    last = len(found.norms) - 1
    lags = [max(1, last // 10), max(1, last // 2), last]
    return {
        "cell": name,
        "network": phase,
        "validation_mse": error,
        **{f"k={k}": float(found.ratios[k]) for k in lags},
        "sigma_max": found.sigma,
        f"bound k={last}": None if found.bounds is None else float(found.bounds[last]),
    }


def curve(name: str, phase: str, found: Profile) -> Iterator[report.Row]:
    """A row for each k."""
    for k, (norm, ratio) in enumerate(zip(found.norms, found.ratios, strict=True)):
        bound = None if found.bounds is None else float(found.bounds[k])
        row = {"cell": name, "network": phase, "k": k}
        yield {**row, "norm": float(norm), "ratio": float(ratio), "bound": bound}


def picture(curves: Sequence[report.Row]) -> Figure:
    """Ratios against k, a panel at the start and one after training; bounds are dashed."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, phase in zip(panels, ("start", "trained"), strict=True):
        for name in report.distinct(curves, "cell"):
            rows = [row for row in curves if (row["cell"], row["network"]) == (name, phase)]
            steps = [row["k"] for row in rows]
            (line,) = axes.plot(steps, [row["ratio"] for row in rows], label=name)
            if rows[0]["bound"] is not None:
                bounds = [row["bound"] for row in rows]
                axes.plot(steps, bounds, color=line.get_color(), linestyle="--", linewidth=0.8)
        axes.set(xlabel="k, steps back", yscale="log", ylim=(1e-12, 1e3), title=phase)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("gradient norm at T - k, relative to k = 0")
    panels[1].legend(title="dashed: bound", ncols=2)
    return figure


def run(config: GradientsConfig) -> None:
    """All cells and variants; after each the files hold what is known by then."""
    start_tensorflow()
    out = report.folder("vanishing_gradients", config.out)
    names = [*config.cells, *config.variants]
    print(f"{len(names)} cases of at most {config.minutes:g} minutes each; results in {out}")
    rows: list[report.Row] = []
    curves: list[report.Row] = []
    for name in names:
        for phase, found, error in case(name, config):
            rows.append(summary(name, phase, found, error))
            curves += curve(name, phase, found)
        report.write_csv(out / "results.csv", rows)
        report.write_csv(out / "curves.csv", curves)
        plots.save(picture(curves), out / "results.png")
        print(f"{name}: done", flush=True)
    print(f"\n{report.table(rows)}")
    print(
        "\nk=...: gradient norm that far back, relative to k = 0. sigma_max: largest"
        "\nsingular value of a plain cell's recurrent kernel; bound: its power, which the ratio"
        "\ncan't exceed."
    )


if __name__ == "__main__":
    main(run, GradientsConfig, prog="studies.vanishing_gradients")
