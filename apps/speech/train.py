"""Trains, scores and exports a recogniser of speech. Read it from top to bottom: load, build and
fit, evaluate, export.

TensorFlow is imported inside ``run``, so that --help answers at once.
"""

from typing import Any

from apps.speech.config import SPACE, SpeechConfig
from common.cli import main, start_tensorflow
from common.errors import UserError


def run(config: SpeechConfig, trial: bool = False) -> dict[str, Any]:
    """One training run; returns what it writes to metrics.json, or as a `trial` of a sweep what it
    scored on the validation part.

    Raises:
        UserError: for data or a run to begin from that are not there, and for data that can't be
            used.
    """
    from common import runs

    run = runs.planned("speech", config.run_dir, config.resume)
    if config.data is not None and not config.data.exists():
        raise UserError(f"{config.data}: no such file or folder")
    if config.init_from is not None and not config.init_from.is_dir():
        raise UserError(f"--init-from {config.init_from}: no such folder")
    start_tensorflow()

    import tensorflow as tf

    from apps.speech import (
        comparison,
        data,
        features,
        gallery,
        language,
        metrics,
        model,
        objectives,
        plots,
        report,
        schema,
        serving,
    )
    from apps.speech.batches import SpeechBatches
    from common import export, training, weights, workers
    from common.monitoring import Monitor
    from common.plots import save, save_training
    from common.report import write as write_report
    from common.trainer import Trainer

    # Load.
    strategy = training.set_up(config)
    corpus = data.load(config)
    alphabet = corpus.alphabet
    batches = SpeechBatches(
        corpus.train,
        alphabet,
        config.batch_size,
        config if config.changes_sound else None,
        config.seed,
        config.curriculum(alphabet.words),
        config.causal,
        config.jit,
    )
    words = language.learn([u.text for u in corpus.train], config.order)
    enough = 3000 if alphabet.words else 4000  # words are learnt sooner than how they are spelt
    epochs = training.epochs_for(config, batches.steps, least=10, least_steps=enough)
    report.begin(corpus, words.perplexity(u.text for u in corpus.validation))
    report.plan(config, epochs, batches.steps, run.path)

    # Build and fit.
    training.reseed(config, 0)  # who prepares a corpus draws from the same generator
    with strategy.scope():
        network = model.build(config, len(alphabet))
    if config.init_from is not None:
        weights.start_from(network, config.init_from)
    if config.causal:  # what a stream is normalised by before it is heard
        network.measure(*features.statistics(corpus.train, network.log_mel))
    runs.start(run, "speech", config)  # from here on there is something to keep
    schema.write(run, config, corpus, words)
    exported = serving.Serving(network, alphabet.symbols)
    listener = comparison.Listener(exported, alphabet, config.batch_size)
    board = Monitor(run.tensorboard)
    board.graph(listener.function)

    def done() -> tf.Tensor:  # a share of the training
        return tf.cast(trainer.optimizer.iterations.value, tf.float32) / float(trainer.steps)

    def validate(step: int) -> dict[str, float]:
        heard = listener.listen(corpus.validation)
        comparison.show(board, listener, corpus.validation, heard, step)
        found = metrics.scores(corpus.validation, heard.texts, resamples=0)
        return {"loss": heard.loss} | {k: found[k] for k in ("wer", "cer", "string_accuracy")}

    trainer = Trainer(
        network,
        objectives.recognising(network, done),
        config,
        steps=epochs * batches.steps,
        strategy=strategy,
    )
    fitted = training.fit(
        trainer,
        batches,
        epochs=epochs,
        validate=validate,
        monitor="wer",
        lower_is_better=True,
        weights=run.weights(),
        history=run.history(),
        board=board,
    )
    if trial:  # of a sweep, which asks for nothing else
        return fitted.validated()
    if not workers.is_chief(strategy):  # which does the rest for all
        return {}

    # Export, and ask the export the same in a process that knows only TensorFlow.
    export.write(
        [network],
        exported.signatures(),
        run.export,
        examples=exported.examples(corpus.test[0].waveform),
        portable=exported.PORTABLE,
    )
    heard = listener.listen(corpus.test)
    checked = slice(0, report.CHECKED)
    difference = report.check_export(
        run.export, corpus.test[checked], heard.texts[checked], heard.confidences[checked]
    )

    # Evaluate: the network, its searches, and what a sceptic would use instead.
    result: dict[str, Any] = {
        "app": "speech",
        "dataset": corpus.name,
        "decoder": config.decodes,
        "causal": config.causal,
        "closed": bool(corpus.words),
        "cell": config.cell,
        "parameters": network.count_params(),
        "train_seconds": fitted.seconds,
        "test": metrics.scores(corpus.test, heard.texts),
        "by_speaker": metrics.by_speaker(corpus.test, heard.texts),
        "worst": metrics.worst(corpus.test, heard.texts),
        "export_difference": difference,
    }
    result["searches"] = comparison.searches(run, corpus)
    result["single_words"], result["baselines"] = comparison.single_words(corpus, heard.texts)
    result["versions"] = runs.versions()
    by_length = metrics.by_length(corpus.test, heard.texts)
    save(plots.errors(by_length, result["by_speaker"]), run.plots / "errors.png")
    save(comparison.picture(run, corpus.test), run.plots / "heard.png")
    save_training(fitted.history, fitted.gradient_flow, run.plots, "wer")
    write_report(run, result, gallery.sections(config, result, run, corpus, heard.texts))
    runs.end(run, result)
    report.end(result, run.path)
    return result


if __name__ == "__main__":
    main(run, SpeechConfig, prog="python -m apps.speech.train", app="speech", space=SPACE)
