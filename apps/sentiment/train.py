"""Trains, scores and exports a sentiment model. Read it from top to bottom: load, build,
fit, evaluate, export.

TensorFlow is imported inside ``run``, so that --help answers at once.
"""

from typing import TYPE_CHECKING, Any

from apps.sentiment.config import PRESETS, SentimentConfig
from common.cli import main, start_tensorflow

if TYPE_CHECKING:
    import keras
    import numpy as np

    from common.data import SequenceBatches

VECTOR_SCALE = 0.3  # deviation of the entries of word vectors made from counts


def run(config: SentimentConfig) -> dict[str, Any]:
    """One training run; returns what it writes to metrics.json."""
    from common import runs

    run = runs.planned("sentiment", config.run_dir)
    start_tensorflow()

    import tensorflow as tf

    from apps.sentiment import baselines, data, metrics, model, objectives, plots, report, vectors
    from common import export, training
    from common.data import SequenceBatches
    from common.monitoring import Monitor
    from common.plots import confusion_matrix, learning_curves, save

    # Load.
    strategy = training.set_up(config)
    splits = data.load(config.dataset, config.data, config.text_column, config.label_column)
    report.begin(config, splits, run.path)
    if config.init_from is None:
        vectorizer = model.make_vectorizer(config.vocabulary, splits.train.texts)
    else:
        vectorizer = model.vectorizer_of(report.vocabulary_of(config.init_from))
    words = vectorizer.get_vocabulary()

    def batches(part: data.Labelled) -> SequenceBatches:
        numbers = model.encode(vectorizer, part.texts, config.max_tokens)
        multiple = 64 if config.jit else 1
        return SequenceBatches(
            numbers, part.labels, config.batch_size, config.seed, multiple=multiple
        )

    train, validation, test = map(batches, (splits.train, splits.validation, splits.test))

    # Build.
    with strategy.scope():
        network = model.build(config, len(words), len(splits.classes))
        if config.word_vectors and config.init_from is None:
            table = vectors.pmi_vectors(
                train.sequences, len(words), config.embedding, seed=config.seed
            )
            network.get_layer("embedding").set_weights([VECTOR_SCALE * table])
    if config.init_from is not None:
        carried, left = training.init_from(network, runs.Run(config.init_from).weights)
        print(f"from {config.init_from}: {len(carried)} weights carried over, {len(left)} new")

    # Fit. From here on there is something to keep.
    runs.start(run, "sentiment", config)
    runs.write_text(run.path / "vocabulary.txt", "\n".join(words) + "\n")
    board = Monitor(run.tensorboard)

    def validate(step: int) -> dict[str, float]:
        probabilities = probabilities_of(network, validation)
        labels = splits.validation.labels
        counts = metrics.confusion(probabilities, labels)
        board.figure("confusion", confusion_matrix(counts, splits.classes), step)
        board.figure("reliability", plots.reliability(probabilities, labels), step)
        board.text("misclassified", report.worst(splits, probabilities), step)
        return metrics.scores(probabilities, labels, resamples=0)

    objective = objectives.classification(network, config)
    trainer = training.Trainer(
        network, objective, config, steps=config.epochs * train.steps, strategy=strategy
    )
    fitted = training.fit(
        trainer,
        train,
        epochs=config.epochs,
        validate=validate,
        monitor="accuracy",
        run=run,
        board=board,
    )

    # Evaluate: the network and what a sceptic would use instead, on the same test part.
    probabilities = probabilities_of(network, test)
    print("fitting the baselines ...", flush=True)
    answers = baselines.fit_all(splits, config.seed)
    result = {
        "app": "sentiment",
        "dataset": splits.name,
        "cell": config.cell,
        "parameters": network.count_params(),
        "train_seconds": fitted.seconds,
        "test": metrics.scores(probabilities, splits.test.labels),
        "baselines": {k: metrics.scores(v, splits.test.labels) for k, v in answers.items()},
        "versions": runs.versions(),
    }
    save(learning_curves(fitted.history, "accuracy"), run.plots / "learning_curves.png")
    counts = metrics.confusion(probabilities, splits.test.labels)
    save(confusion_matrix(counts, splits.classes), run.plots / "confusion.png")
    save(plots.reliability(probabilities, splits.test.labels), run.plots / "reliability.png")

    # Export, and ask the export the same in a process that knows only TensorFlow.
    answers_of = model.Answers(network, vectorizer, splits.classes, config.max_tokens)
    strings = tf.TensorSpec([None], tf.string, name="text")
    signatures = {
        "serving_default": (answers_of.label, [strings]),
        "trajectory": (answers_of.trajectory, [strings]),
    }
    export.write([network, vectorizer], signatures, run.export)
    result["export_difference"] = report.check_export(run.export, splits.test.texts, probabilities)
    runs.write_json(run.metrics, result)
    report.end(result, run.path)
    return result


def probabilities_of(network: "keras.Model", batches: "SequenceBatches") -> "np.ndarray":
    """The model's answers ``[texts, classes]``, in the order of the texts."""
    import numpy as np
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def answer(numbers: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(network(numbers, training=False))

    rows = [answer(numbers).numpy() for numbers, _ in batches.in_order()]
    return batches.restore(np.concatenate(rows))


if __name__ == "__main__":
    main(run, SentimentConfig, prog="python -m apps.sentiment.train", presets=PRESETS)
