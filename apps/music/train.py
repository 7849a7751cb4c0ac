"""Trains, scores and exports a composer. Read it from top to bottom: load, build and fit,
evaluate, export.

TensorFlow is imported inside ``run``, so that --help answers at once.
"""

import dataclasses
from typing import Any

from apps.music.config import PRESETS, SPACE, MusicConfig
from common.cli import main, start_tensorflow
from common.errors import UserError

FRAMES = {"joint": 2_000_000, "independent": 2_000_000, "voices": 3_500_000, "events": 12_000_000}
"""Frames that a training sees where --epochs leaves it open, by head."""
LISTENED = 64
"""Quarter notes that TensorBoard gets to hear."""
HEARD = 20
"""So many times in a training."""


def run(config: MusicConfig, trial: bool = False) -> dict[str, Any]:
    """One training run; returns what it writes to metrics.json, or as a `trial` of a sweep what it
    scored on the validation part.

    Raises:
        UserError: for data that are not there, and for data that can't be used.
    """
    from common import runs

    run = runs.planned("music", config.run_dir, config.resume)
    if config.data is not None and not config.data.exists():
        raise UserError(f"{config.data}: no such file or folder")
    start_tensorflow()

    from apps.music import (
        baselines,
        data,
        gallery,
        melody,
        metrics,
        model,
        objectives,
        plots,
        render,
        report,
        serving,
        singing,
    )
    from apps.music.rolls import RollBatches
    from apps.music.settings import Settings, asked, examples
    from apps.music.shape import shape_of
    from common import export, training, weights, workers
    from common.monitoring import Monitor
    from common.plots import save_training
    from common.report import write as write_report
    from common.trainer import Trainer

    # Load.
    strategy = training.set_up(config)
    corpus = data.load(config.dataset, config.data, config.resolution, strict=config.strict)
    report.begin(corpus)
    shape = shape_of(corpus, config.head)
    settings = Settings.of(corpus, shape)
    build: Any = model.build
    together: Any = serving.Ensemble
    if shape.head == "events":
        build, together = melody.build, singing.Singers
    multiple = 32 if config.jit else 1
    train = RollBatches(
        corpus.train, config.batch_size, config.transpose, multiple=multiple, told=config.told
    )
    validation, test = (
        RollBatches(part, config.batch_size) for part in (corpus.validation, corpus.test)
    )
    frames = sum(map(len, corpus.train))
    epochs = training.epochs_for(
        config, train.steps, least=-(-FRAMES[shape.head] // frames), least_steps=500
    )
    report.plan(config, shape.head, epochs, train.steps, run.path)

    # Build and fit, one network after the other.
    seconds = 0.0
    networks: list[Any] = []
    for member in range(config.members):
        seed = training.reseed(config, member)
        with strategy.scope():
            network = build(config, shape, member)
        if config.init_from is not None:
            weights.start_from(network, config.init_from)
        if not member:  # from here on there is something to keep
            runs.start(run, "music", config)
            settings.write(run)
        board = Monitor(run.tensorboard / f"member_{member}" if member else run.tensorboard)
        alone = together([network])

        def validate(step: int, alone: Any = alone, board: Monitor = board) -> dict[str, float]:
            if step // train.steps % max(1, epochs // HEARD) == 0:
                piece = serving.sample(alone, corpus, LISTENED * corpus.resolution)
                grid = (corpus.resolution, corpus.articulated)
                board.figure("piano_roll", plots.piano_roll(piece, *grid), step)
                heard = render.sound(piece, *grid, render.TEMPO)
                board.audio("piece", heard, render.RATE, step)
            return {"nll": metrics.nll(alone.losses(validation))}

        fitted = training.fit(
            Trainer(
                network,
                objectives.likelihood(network, corpus.train),
                config,
                steps=epochs * train.steps,
                strategy=strategy,
            ),
            dataclasses.replace(train, seed=seed),
            epochs=epochs,
            validate=validate,
            monitor="nll",
            lower_is_better=True,
            weights=run.weights(member),
            history=run.history(member),
            board=board,
            label=f"network {member + 1} of {config.members}",
        )
        seconds += fitted.seconds
        if fitted.best_epoch or not networks:  # an interrupted one may have learnt nothing yet
            networks.append(network)
        if not member:
            flow = fitted.gradient_flow
            save_training(fitted.history, flow, run.plots, "nll", loss="nll")
        if fitted.interrupted:
            break
    if trial:  # of a sweep, which asks for nothing else
        return fitted.validated()
    if not workers.is_chief(strategy):  # which does the rest for all
        return {}
    ensemble = together(networks)

    # Evaluate: the network and what a sceptic would use instead, on the same test part.
    print("scoring ...", flush=True)
    losses = ensemble.losses(test)
    result: dict[str, Any] = {
        "app": "music",
        "dataset": corpus.name,
        "cell": config.cell,
        "head": shape.head,
        "parameters": sum(network.count_params() for network in networks),
        "train_seconds": seconds,
        "validation": {"nll": metrics.nll(ensemble.losses(validation))},
        "test": metrics.scores(losses, ensemble.guesses(test), corpus.test),
        "baselines": baselines.scores(corpus.train, corpus.test, corpus.articulated),
        "versions": runs.versions(),
    }

    # Export, and ask the export the same in a process that knows only TensorFlow.
    export.write(
        networks,
        ensemble.signatures(),
        run.export,
        examples=examples(asked(corpus.test[0], settings)),
        portable=serving.PORTABLE,
    )
    result["export_difference"] = report.check_export(
        run.export, corpus.test[0], settings, losses[0]
    )
    write_report(run, result, gallery.sections(config, result, run, corpus, settings, ensemble))
    runs.end(run, result)
    report.end(result, run.path)
    return result


if __name__ == "__main__":
    main(
        run,
        MusicConfig,
        prog="python -m apps.music.train",
        presets=PRESETS,
        app="music",
        space=SPACE,
    )
