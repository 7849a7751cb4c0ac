"""Trains, scores and exports a sentiment model. Read it from top to bottom: load, build and
fit, evaluate, export.

TensorFlow is imported inside ``run``, so that --help answers at once.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

from apps.sentiment.config import PRESETS, SPACE, SentimentConfig
from common.cli import main, start_tensorflow
from common.errors import UserError

if TYPE_CHECKING:
    import keras
    import numpy as np

    from common.data import SequenceBatches

VECTOR_SCALE = 0.3  # deviation of the entries of word vectors made from counts


def run(config: SentimentConfig, trial: bool = False) -> dict[str, Any]:
    """One training run; returns what it writes to metrics.json, or as a `trial` of a sweep what it
    scored on the validation part.

    Raises:
        UserError: for data or a run to begin from that are not there, and for data that can't be
            used.
    """
    from common import runs

    run = runs.planned("sentiment", config.run_dir, config.resume)
    if config.data is not None and not config.data.is_file():
        raise UserError(f"{config.data}: no such file")
    if config.init_from is not None and not config.init_from.is_dir():
        raise UserError(f"--init-from {config.init_from}: no such folder")
    start_tensorflow()

    from apps.sentiment import (
        baselines,
        data,
        gallery,
        metrics,
        model,
        objectives,
        plots,
        pretrain,
        report,
        vectors,
    )
    from common import export, training, weights, workers
    from common.data import SequenceBatches
    from common.monitoring import Monitor
    from common.plots import confusion_matrix, save, save_training
    from common.report import write as write_report
    from common.trainer import Trainer

    # Load.
    strategy = training.set_up(config)
    splits = data.load(config.dataset, config.data, config.text_column, config.label_column)
    report.begin(splits)
    if config.init_from is None:
        vectorizer = model.make_vectorizer(config.vocabulary, splits.train.texts)
    else:
        vectorizer = model.vectorizer_of(report.vocabulary_of(config.init_from))
    words = vectorizer.get_vocabulary()

    def batches(part: data.Labelled) -> SequenceBatches:
        numbers = model.encode(vectorizer, part.texts, config.max_tokens)
        multiple = 64 if config.jit else 1
        return SequenceBatches(numbers, part.labels, config.batch_size, multiple=multiple)

    train, validation, test = map(batches, (splits.train, splits.validation, splits.test))

    epochs = training.epochs_for(config, train.steps, least=3, least_steps=300)
    report.plan(config, epochs, train.steps, run.path)

    # Build and fit, one network after the other.
    seconds = 0.0
    start: pretrain.Start = {}
    if config.word_vectors and config.init_from is None:
        table = vectors.pmi_vectors(train.sequences, len(words), config.embedding, seed=config.seed)
        start["embedding"] = [VECTOR_SCALE * table]
    networks: list[keras.Model] = []
    for member in range(config.members):
        seed = training.reseed(config, member)
        with strategy.scope():
            network = model.build(config, len(words), len(splits.classes), member)
        if config.init_from is not None:
            weights.start_from(network, config.init_from, member)
        if not member:  # from here on there is something to keep
            runs.start(run, "sentiment", config)
            runs.write_text(run.path / "vocabulary.txt", "\n".join(words) + "\n")
        pretrain.apply(start, network)
        if config.pretrain_epochs and not member and config.init_from is None:
            start, seconds = pretrain.pretrain(network, train, validation, config, strategy, run)
        board = Monitor(run.tensorboard / f"member_{member}" if member else run.tensorboard)

        answer = model.compiled(network)
        board.graph(answer.get_concrete_function())

        def validate(step: int, answer: Any = answer, board: Monitor = board) -> dict[str, float]:
            probabilities = probabilities_of(answer, validation)
            labels = splits.validation.labels
            counts = metrics.confusion(probabilities, labels)
            board.figure("confusion", confusion_matrix(counts, splits.classes), step)
            board.figure("reliability", plots.reliability(probabilities, labels), step)
            wrong = gallery.misclassified(splits.validation, splits.classes, probabilities)
            board.text("misclassified", wrong, step)
            return metrics.scores(probabilities, labels, resamples=0)

        fitted = training.fit(
            Trainer(
                network,
                objectives.classification(network, config),
                config,
                steps=epochs * train.steps,
                strategy=strategy,
            ),
            dataclasses.replace(train, seed=seed),
            epochs=epochs,
            validate=validate,
            monitor="accuracy",
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
            save_training(fitted.history, flow, run.plots, "accuracy", loss="log_loss")
        if fitted.interrupted:
            break
    if trial:  # of a sweep, which asks for nothing else
        return fitted.validated()
    if not workers.is_chief(strategy):  # which does the rest for all
        return {}
    network = model.together(networks)

    # Evaluate: the network and what a sceptic would use instead, on the same test part.
    answer = model.compiled(network)
    probabilities = probabilities_of(answer, test)
    print("fitting the baselines ...", flush=True)
    answers = baselines.fit_all(splits, config.seed)
    result = {
        "app": "sentiment",
        "dataset": splits.name,
        "cell": config.cell,
        "parameters": network.count_params(),
        "train_seconds": seconds,
        "validation": metrics.scores(probabilities_of(answer, validation), validation.targets, 0),
        "test": metrics.scores(probabilities, splits.test.labels),
        "baselines": {k: metrics.scores(v, splits.test.labels) for k, v in answers.items()},
        "versions": runs.versions(),
    }
    counts = metrics.confusion(probabilities, splits.test.labels)
    save(confusion_matrix(counts, splits.classes), run.plots / "confusion.png")
    save(plots.reliability(probabilities, splits.test.labels), run.plots / "reliability.png")

    # Export, and ask the export the same in a process that knows only TensorFlow.
    exported = model.Answers(network, vectorizer, splits.classes, config.max_tokens)
    export.write(
        [network, vectorizer],
        exported.signatures(),
        run.export,
        examples=exported.examples(splits.test.texts[:2]),
        portable=exported.PORTABLE,
    )
    result["export_difference"] = report.check_export(run.export, splits.test.texts, probabilities)
    shown = gallery.sections(config, result, run, splits.test, splits.classes, probabilities)
    write_report(run, result, shown)
    runs.end(run, result)
    report.end(result, run.path)
    return result


def probabilities_of(answer: Any, batches: "SequenceBatches") -> "np.ndarray":
    """What a compiled network answers, ``[texts, classes]``, in the order of the texts."""
    import numpy as np

    rows = [answer(numbers).numpy() for numbers, _ in batches.in_order()]
    return batches.restore(np.concatenate(rows))


if __name__ == "__main__":
    main(
        run,
        SentimentConfig,
        prog="python -m apps.sentiment.train",
        presets=PRESETS,
        app="sentiment",
        space=SPACE,
    )
