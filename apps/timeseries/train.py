"""Trains, scores and exports a forecaster. Read it from top to bottom: load, build and fit,
calibrate, evaluate, export.

TensorFlow is imported inside ``run``, so that --help answers at once.
"""

import dataclasses
from typing import Any

from apps.timeseries.config import SPACE, TimeSeriesConfig
from common.cli import main, start_tensorflow
from common.errors import UserError


def run(config: TimeSeriesConfig, trial: bool = False) -> dict[str, Any]:
    """One training run; returns what it writes to metrics.json, or as a `trial` of a sweep what it
    scored on the validation part.

    Raises:
        UserError: for data that are not there, and for a table that can't be used.
    """
    from common import runs

    config = config.suited()
    run = runs.planned("timeseries", config.run_dir, config.resume)
    if config.data is not None and not config.data.is_file():
        raise UserError(f"{config.data}: no such file")
    start_tensorflow()

    import numpy as np

    from apps.timeseries import (
        baselines,
        comparison,
        data,
        gallery,
        metrics,
        model,
        objectives,
        report,
        serving,
        tables,
        windows,
    )
    from apps.timeseries.panel import PARTS, cut, origins, scored
    from apps.timeseries.schema import Schema
    from apps.timeseries.shape import shape_of
    from common import export, training, weights, workers
    from common.monitoring import Monitor
    from common.plots import save, save_training
    from common.report import write as write_report
    from common.trainer import Trainer

    # Load.
    strategy = training.set_up(config)
    panel = data.load(config.dataset, config.data, config)
    print("\n".join(tables.describe(panel)))
    cuts = cut(panel, config.split)
    shape = shape_of(config, panel, cuts)
    found = {part: origins(panel, cuts, part, shape.history, shape.horizon) for part in PARTS}
    found["test"] = found["test"][:: config.stride]
    for part in ("validation", "test"):
        few = scored(found[part], shape.horizon, len(panel.roles.targets))
        report.fewer(part, found[part], few)
        found[part] = few
    statistics = windows.statistics(panel, cuts)
    deviation = statistics["target"][1]
    batches = {
        part: windows.WindowBatches(panel, at, shape, config.batch_size)
        for part, at in {
            **found,
            "both": np.concatenate([found["train"], found["validation"]]),
        }.items()
    }
    truth = {part: batches[part].truth() for part in ("validation", "test")}
    scales = {k: metrics.scales_at(panel, cuts, shape.season, found[k]) for k in truth}
    epochs = training.epochs_for(config, batches["train"].steps, least=6, least_steps=2000)
    report.begin(panel, shape, found)
    report.plan(config, shape, epochs, batches["train"].steps, run.path)

    # Build and fit: one network after the other on the training part, then each anew on all
    # that came before the test part, for as many epochs as were best.
    def fit(member: int, part: str, best: int | None = None) -> tuple[Any, Any]:
        seed = training.reseed(config, member)
        with strategy.scope():
            network = model.build(config, shape, panel.roles, statistics, member)
        if config.init_from is not None:
            weights.start_from(network, config.init_from)
            network.measure(statistics)
        if part == "train" and not member:  # from here on there is something to keep
            runs.start(run, "timeseries", config)
            Schema.of(panel, cuts, shape).write(run)
        alone = serving.Ensemble([network], serving.Correction.of(network))
        name = f"member_{member}" if part == "train" else f"refit_{member}"
        board = Monitor(run.tensorboard / name)

        def validate(step: int) -> dict[str, float]:
            said = alone.answers(batches["validation"].in_order())
            shown = said.forecast(alone.correction)
            pictures = comparison.pictures(
                panel,
                found["validation"],
                {"network": shown},
                truth["validation"],
                scales["validation"],
                shape,
            )
            for picture, figure in pictures.items():
                board.figure(picture, figure, step)
            return objectives.scores(config.loss, said.in_units(), truth["validation"], deviation)

        fitted = training.fit(
            Trainer(
                network,
                objectives.forecasting(network, config.loss),
                config,
                steps=epochs * batches[part].steps,
                strategy=strategy,
            ),
            dataclasses.replace(batches[part], seed=seed, teacher=config.teacher_forcing > 0),
            epochs=best or epochs,
            validate=None if best else validate,
            monitor="loss",
            lower_is_better=True,
            weights=run.weights(member),
            history=run.history(member) if part == "train" else run.path / f"{name}.csv",
            board=board,
            label=f"network {member + 1} of {config.members}" + (", refit" if best else ""),
        )
        return network, fitted

    trained = []
    for member in range(config.members):
        trained.append(fit(member, "train"))
        if trained[-1][1].interrupted:
            break
    networks, fits = zip(*trained, strict=True)
    if trial:  # of a sweep, which asks for nothing else
        return fits[0].validated()
    correction = serving.Correction.of(networks[0])
    said = serving.Ensemble(networks, correction).answers(batches["validation"].in_order())
    if config.calibrate or config.loss != "pinball":  # a point has no spread of its own
        correction.learn(said, truth["validation"])
    result: dict[str, Any] = {
        "app": "timeseries",
        "dataset": panel.name,
        "cell": config.cell,
        "parameters": sum(network.count_params() for network in networks),
        "train_seconds": sum(fitted.seconds for fitted in fits),
        "validation": objectives.scores(
            config.loss, said.in_units(), truth["validation"], deviation
        ),
    }
    if config.refit and not fits[-1].interrupted:
        again = []
        for member, fitted in enumerate(fits):
            again.append(fit(member, "both", best=fitted.best_epoch))
            if again[-1][1].interrupted:
                break
        networks = tuple(n for n, fitted in again if not fitted.interrupted) or networks
        result["train_seconds"] += sum(fitted.seconds for _, fitted in again)
    if not workers.is_chief(strategy):  # which does the rest for all
        return {}

    # Evaluate: the networks and what a sceptic would use instead, at the same origins.
    ensemble = serving.Ensemble(networks, correction)
    forecast = ensemble.answers(batches["test"].in_order()).forecast(correction)
    print("fitting the baselines ...", flush=True)
    others = baselines.forecasts(panel, cuts, shape, found["test"], seed=config.seed)
    result["test"], result["baselines"] = comparison.compare(
        forecast, others, truth["test"], found["test"], scales["test"]
    )
    result["best_baseline"] = min(others, key=lambda name: result["baselines"][name]["mase"])
    everything = {f"{config.cell} network": forecast, **others}
    pictures = comparison.pictures(
        panel, found["test"], everything, truth["test"], scales["test"], shape
    )
    for picture, figure in pictures.items():
        save(figure, run.plots / f"{picture}.png")
    save_training(fits[0].history, fits[0].gradient_flow, run.plots, "mae")
    result["versions"] = runs.versions()

    # Export, and ask the export the same in a process that knows only TensorFlow.
    asked = windows.inputs_at(panel, found["test"][: report.CHECKED], shape)
    export.write(
        [*networks, correction],
        ensemble.signatures(),
        run.export,
        examples=ensemble.examples(asked),
        portable=ensemble.PORTABLE,
    )
    result["export_difference"] = report.check_export(run.export, asked, forecast.quantiles)
    mase = metrics.by_window(forecast, truth["test"], scales["test"])["mase"]
    shown = gallery.sections(config, result, run, panel, shape, found["test"], forecast, mase)
    write_report(run, result, shown)
    runs.end(run, result)
    report.end(result, run.path, several=len(panel.roles.targets) > 1)
    return result


if __name__ == "__main__":
    main(
        run,
        TimeSeriesConfig,
        prog="python -m apps.timeseries.train",
        app="timeseries",
        space=SPACE,
    )
