"""Trains, scores and exports a labeller of sensor streams. Read it from top to bottom: load,
build and fit, evaluate, export.

TensorFlow is imported inside ``run``, so that --help answers at once.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

from apps.gesture.config import SPACE, GestureConfig
from common.cli import main, start_tensorflow
from common.errors import UserError

SHOWN = 10
"""So many times in a training TensorBoard gets pictures."""

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from apps.gesture.streams import Corpus, Stream
    from common.runs import Run


def run(config: GestureConfig, trial: bool = False) -> dict[str, Any]:
    """A run of one fold, or of all; returns what it writes to metrics.json, or as a `trial` of a
    sweep what it scored on the validation part.

    Raises:
        UserError: for data or a run to begin from that are not there, and for data that can't be
            used.
    """
    from common import runs

    run = runs.planned("gesture", config.run_dir, config.resume)
    if config.data is not None and not config.data.exists():
        raise UserError(f"{config.data}: no such file or folder")
    if config.init_from is not None and not config.init_from.is_dir():
        raise UserError(f"--init-from {config.init_from}: no such folder")
    start_tensorflow()

    from apps.gesture import data, streams
    from common import training, workers

    strategy = training.set_up(config)
    corpus = data.load(config.dataset, config.data, config)
    if config.fold != "all":
        return one_fold(config, corpus, run, trial)
    streams.split(corpus, 0)  # too few subjects are refused before anything is written
    runs.start(run, "gesture", config)
    results = []
    for fold in range(streams.folds_of(corpus)):
        folder = run.path / f"fold_{fold}"
        own = dataclasses.replace(config, fold=str(fold), run_dir=folder)  # type: ignore[arg-type]
        one = runs.Run(folder)
        (done,) = workers.from_chief(strategy, [one.is_finished])  # before the run was resumed
        if not done:
            results.append(one_fold(own, corpus, one))
        elif workers.is_chief(strategy):
            runs.tidy(one)
            results.append(runs.read_json(one.metrics))
    if not workers.is_chief(strategy):
        return {}
    return all_folds(config, results, run)


def one_fold(
    config: GestureConfig, corpus: "Corpus", run: "Run", trial: bool = False
) -> dict[str, Any]:
    """Trains on some subjects, chooses by others, and tests on others still."""
    import numpy as np

    from apps.gesture import (
        baselines,
        gallery,
        metrics,
        model,
        objectives,
        plots,
        report,
        schema,
        serving,
        streams,
    )
    from apps.gesture.augment import Augmentation
    from apps.gesture.batches import Pieces
    from apps.gesture.smoothing import labels_of, learned_transitions
    from common import export, formats, runs, training, weights, workers
    from common.monitoring import Monitor
    from common.plots import confusion_matrix, save, save_training
    from common.report import write as write_report
    from common.trainer import Trainer

    # Load.
    strategy = training.set_up(config)
    parts = streams.split(corpus, int(config.fold))
    fixed = {part: streams.fixed_streams(found) for part, found in parts.items()}
    classes, rate = corpus.classes, corpus.rate
    both = corpus.of([*parts["train"].subjects, *parts["validation"].subjects])
    how = Augmentation(
        config.rotation,
        config.pose,
        config.amplitude,
        config.scaling,
        config.warp,
        config.noise,
        config.channel_drop,
    )
    length = max(1, round(config.piece * rate))
    if not corpus.isolated:  # nothing is gained by pieces that are longer than any stream
        length = min(length, max(len(stream) for stream in parts["train"].streams))
    pieces = {
        part: Pieces(found, length, how, config.batch_size, config.seed)
        for part, found in {"train": parts["train"], "both": both}.items()
    }
    epochs = training.epochs_for(config, pieces["train"].steps, least=3, least_steps=1000)
    report.begin(corpus, parts)
    report.plan(config, epochs, pieces["train"].steps, rate, run.path)

    # Build and fit: on the training subjects, then anew on the validation subjects as well, for
    # as many epochs as were best.

    def fit(member: int, part: str, best: int | None = None) -> tuple[Any, Any]:
        seed = training.reseed(config, member)
        rows = np.concatenate([stream.values for stream in pieces[part].corpus.streams])
        with strategy.scope():
            network = model.build(config, rows, len(classes), member)
        if config.init_from is not None:
            weights.start_from(network, config.init_from)
            network.measure(rows)
        if part == "train" and not member:  # from here on there is something to keep
            runs.start(run, "gesture", config)
        name = f"{part}_{member}"
        board = Monitor(run.tensorboard / name)
        answer = model.compiled([network])
        board.graph(answer)

        def validate(step: int) -> dict[str, float]:
            said = probabilities_of(answer, fixed["validation"])
            labels = [p.argmax(axis=1) for p in said]
            if step // pieces[part].steps % max(1, epochs // SHOWN) == 0:
                counts = metrics.confusion(fixed["validation"], labels, len(classes))
                board.figure("confusion", confusion_matrix(counts, classes), step)
                rows = {"network": labels[0]}
                shown = plots.bands(fixed["validation"][0], rows, classes, corpus.channels, rate)
                board.figure("bands", shown, step)
            found = metrics.scores(fixed["validation"], labels, rate, config.waits)
            loss = metrics.log_loss(fixed["validation"], said)
            return {"loss": loss, **{k: found[k] for k in ("frame_accuracy", "segmental_f1_50")}}

        fitted = training.fit(
            Trainer(
                network,
                objectives.labelling(network),
                config,
                steps=(best or epochs) * pieces[part].steps,
                strategy=strategy,
            ),
            dataclasses.replace(pieces[part], seed=seed),
            epochs=best or epochs,
            validate=None if best else validate,
            monitor="frame_accuracy",
            weights=run.weights(member),
            history=run.history(member) if part == "train" else run.path / f"history_{name}.csv",
            board=board,
            label=f"fold {config.fold}, network {member + 1}" + (", refit" if best else ""),
        )
        return network, fitted

    def fit_several(members: int, part: str, best: int | None = None) -> tuple[list[Any], Any]:
        found = []
        for member in range(members):
            found.append(fit(member, part, best))
            if found[-1][1].interrupted:
                break
        networks, fits = zip(*found, strict=True)
        return list(networks), fits

    networks, fits = fit_several(1 if config.refit else config.members, "train")
    fitted, seconds = fits[0], sum(one.seconds for one in fits)
    if trial:  # of a sweep, which asks for nothing else
        return fitted.validated()
    transitions = learned_transitions([s.labels for s in fixed["train"]], len(classes))
    written = schema.make(config, corpus, parts, transitions)
    said = probabilities_of(model.compiled(networks), fixed["validation"])
    labels = labels_of(said, written)
    validation = metrics.scores(fixed["validation"], labels, rate, config.waits)
    if config.refit and fitted.best_epoch and not fitted.interrupted:
        again, fits = fit_several(config.members, "both", best=fitted.best_epoch)
        whole = [n for n, one in zip(again, fits, strict=True) if not one.interrupted]
        networks = whole or networks
        seconds += sum(one.seconds for one in fits)
    if not workers.is_chief(strategy):  # which does the rest for all
        return {}

    # Evaluate: the networks and what a sceptic would use instead, on the same streams.
    test = fixed["test"]
    answer = model.compiled(networks)
    said = probabilities_of(answer, test)
    labels = labels_of(said, written)
    print("fitting the baselines ...", flush=True)
    known = streams.fixed_streams(both if config.refit else parts["train"])
    ahead = config.waits if config.causal else None
    others = baselines.fit_all(known, test, rate, ahead, config.seed)
    everything = {f"{config.cell} network": labels, **others}
    compared = {k: metrics.scores(test, v, rate, config.waits) for k, v in everything.items()}
    subjects = {k: metrics.by_subject(test, v, rate, config.waits) for k, v in everything.items()}
    result = {
        "app": "gesture",
        "dataset": corpus.name,
        "fold": config.fold,
        "causal": config.causal,
        "cell": config.cell,
        "parameters": sum(network.count_params() for network in networks),
        "train_seconds": seconds,
        "validation": validation,
        "test": compared.pop(f"{config.cell} network"),
        "by_subject": subjects[f"{config.cell} network"],
        "confusion": metrics.confusion(test, labels, len(classes)).tolist(),
        "baselines": compared,
        "baselines_by_subject": {name: subjects[name] for name in compared},
        "versions": runs.versions(),
    }
    rows = {name: found[0] for name, found in everything.items() if name != "majority"}
    save(plots.bands(test[0], rows, classes, corpus.channels, rate), run.plots / "bands.png")
    counts = np.array(result["confusion"])
    save(confusion_matrix(counts, classes), run.plots / "confusion.png")
    save(plots.by_subject(subjects), run.plots / "subjects.png")
    save_training(fitted.history, fitted.gradient_flow, run.plots, "frame_accuracy")

    # Export, and ask the export the same in a process that knows only TensorFlow.
    exported = serving.Serving(networks, classes)
    begun = dataclasses.replace(test[0], values=test[0].values[: report.CHECKED])
    export.write(
        networks,
        exported.signatures(),
        run.export,
        examples=exported.examples(begun.values),
        portable=exported.portable(),
    )
    if config.causal:
        files = formats.convert(run.export, "litert", run.export.parent)
        result["litert_bytes"] = {file.path.name: file.size for file in files}
    expected = probabilities_of(answer, [begun])[0]
    result["export_difference"] = report.check_export(run.export, begun, expected)
    runs.write_json(run.path / "schema.json", written)
    shown = gallery.sections(config, result, run, corpus, test, everything)
    write_report(run, result, shown)
    runs.end(run, result)
    report.end(result, run.path)
    return result


def all_folds(
    config: GestureConfig, results: "Sequence[dict[str, Any]]", run: "Run"
) -> dict[str, Any]:
    """Puts the folds together: means and their spread, every subject once."""
    import numpy as np

    from apps.gesture import gallery, metrics, plots, report, schema
    from common import runs
    from common.plots import confusion_matrix, save
    from common.report import write as write_report

    subjects = {s: v for result in results for s, v in result["by_subject"].items()}
    others = {
        name: {s: v for result in results for s, v in result["baselines_by_subject"][name].items()}
        for name in results[0]["baselines"]
    }
    counts = np.sum([result["confusion"] for result in results], axis=0)
    result = {
        **{k: results[0][k] for k in ("app", "dataset", "causal", "cell", "parameters")},
        "train_seconds": sum(result["train_seconds"] for result in results),
        "validation": metrics.spread([result["validation"] for result in results]),
        "test": metrics.spread([result["test"] for result in results]),
        "by_subject": subjects,
        "confusion": counts.tolist(),
        "baselines": {
            name: metrics.spread([result["baselines"][name] for result in results])
            for name in others
        },
        "baselines_by_subject": others,
        "folds": [result["test"] for result in results],
        "versions": runs.versions(),
    }
    classes = schema.read(runs.Run(run.path / "fold_0"))["classes"]
    save(confusion_matrix(counts, classes), run.plots / "confusion.png")
    everyone = {f"{config.cell} network": subjects, **others}
    save(plots.by_subject(everyone), run.plots / "subjects.png")
    write_report(run, result, gallery.all_folds(config, result, run, classes))
    runs.end(run, result)
    report.all_folds(results, result, run.path)
    return result


def probabilities_of(answer: Any, streams: "Sequence[Stream]") -> "list[np.ndarray]":
    """What a compiled network answers to each stream, ``[time, classes]``."""
    import tensorflow as tf

    from apps.gesture.batches import padded

    frames, mask = padded(streams)
    said = answer(tf.constant(frames), tf.constant(mask)).numpy()
    return [row[: len(stream)] for row, stream in zip(said, streams, strict=True)]


if __name__ == "__main__":
    main(run, GestureConfig, prog="python -m apps.gesture.train", app="gesture", space=SPACE)
