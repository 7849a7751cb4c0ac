"""Reading before judging: the language model's loss, and what of it a classifier starts from."""

import dataclasses
import itertools
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from apps.sentiment import model, pretrain
from apps.sentiment.config import SentimentConfig
from common import runs
from common.data import SequenceBatches
from common.monitoring import recurrent_layers
from tests import reference

WORDS = 11
CONFIG = SentimentConfig(units=3, embedding=5, pretrain_epochs=3, segment=0)
NUMBERS = np.array([[4, 7, 1, 9, 3], [8, 2, 6, 0, 0]], np.int32)  # 1 is unknown, 0 is padding


@pytest.fixture
def network():
    return model.build(CONFIG, WORDS, 2)


@pytest.fixture
def language(network):
    language = pretrain.LanguageModel(network)
    language(NUMBERS)
    random = np.random.default_rng(0)
    language.set_weights([random.normal(size=w.shape) * 0.5 for w in language.get_weights()])
    return language


def said_by_hand(language: pretrain.LanguageModel) -> list[float]:
    """-log p of every known neighbour, forward layer first, by NumPy from the equations."""
    table = language.embedding.get_weights()[0].astype(float)
    losses = []
    for reader, dense in zip(language.readers, language.said, strict=True):
        weights = [w.astype(float) for w in reader.get_weights()]
        for row in NUMBERS:
            row = row[row > 0]
            order = row[::-1] if reader.reverse else row
            h = np.zeros((1, CONFIG.units))
            for here, neighbour in itertools.pairwise(order):
                (h,) = reference.gru(table[[here]], [h], *weights)
                logits = (h @ dense.get_weights()[0].astype(float)) @ table.T
                logits = logits[0] + language.word_bias.numpy()
                if neighbour > 1:
                    losses.append(np.log(np.exp(logits).sum()) - logits[neighbour])
    return losses


def test_the_loss_is_that_of_the_known_neighbours_on_both_sides(language):
    total, count = pretrain.nats_a_word(language)(NUMBERS)
    expected = said_by_hand(language)
    assert count == len(expected) == 10
    np.testing.assert_allclose(total, sum(expected), rtol=1e-5)


def test_padding_never_changes_the_loss(language):
    sums = pretrain.nats_a_word(language)
    longer = np.pad(NUMBERS, [(0, 0), (0, 4)])
    np.testing.assert_allclose(sums(longer), sums(NUMBERS), rtol=1e-6)


def test_a_window_without_known_neighbours_costs_nothing(language):
    objective = pretrain.sampled_objective(language, np.ones(WORDS))
    losses, _ = objective(tf.constant([[4, 7, 9], [1, 1, 1], [5, 0, 0]]), None)
    assert losses[0] > 0
    np.testing.assert_array_equal(losses[1:], [0, 0])


def test_drawn_words_weighted_by_how_often_to_expect_them_stand_for_all_words():
    """Whatever is summed over words: its estimate from the drawn ones is right on average."""
    shares = np.array([0.5, 0.2, 0.15, 0.1, 0.04, 0.01])
    seeds, labels = keras.random.SeedGenerator(3), tf.constant([[5], [0]], tf.int64)
    draw = tf.function(lambda: pretrain.draw(labels, 3, np.log(shares).astype("f"), seeds))
    estimates = []
    for _ in range(1500):
        words, of_labels, of_words = draw()
        assert len(set(words.numpy())) == 3
        assert of_labels.shape == (2, 1)
        found = dict(zip(words.numpy(), of_words.numpy(), strict=True))
        for label, expected in zip((5, 0), of_labels.numpy()[:, 0], strict=True):
            assert found.get(label, expected) == expected
        estimates.append([w in found and 1 / found[w] for w in range(6)])
    mean, error = np.mean(estimates, axis=0), np.std(estimates, axis=0) / np.sqrt(len(estimates))
    assert (np.abs(mean - 1) < 4 * error + 1e-6).all()


def test_texts_are_read_in_windows_that_leave_out_no_word_but_lone_ones():
    texts = [np.arange(2, 2 + n) for n in (1, 2, 64, 65, 200)]
    pieces = list(pretrain.windows_of(texts))
    assert [len(piece) for piece in pieces] == [2, 64, 64, 64, 64, 64, 8]
    assert sum(map(len, pieces)) == sum(len(t) for t in texts) - 2


def test_pretraining_lowers_the_loss_and_leaves_a_start(network, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(pretrain, "LEARNING_RATE", 0.1)
    monkeypatch.setattr(pretrain, "BATCH", 16)
    random = np.random.default_rng(1)
    cycles = [np.arange(b, b + 20) % 9 + 2 for b in random.integers(0, 9, 300)]
    batches = SequenceBatches([c.astype(np.int32) for c in cycles], np.zeros(300, np.int32), 8)
    run = runs.Run(tmp_path)
    runs.start(run, "sentiment", CONFIG)
    strategy = tf.distribute.get_strategy()
    config = dataclasses.replace(CONFIG, pretrain_epochs=8)
    start, seconds = pretrain.pretrain(network, batches, batches, config, strategy, run)
    history = pd.read_csv(tmp_path / "history_language_model.csv")
    assert history["val_loss"].iloc[-1] < 0.8 * history["val_loss"].iloc[0]
    assert seconds > 0
    assert set(start) == {"embedding", "forward_0", "backward_0"}

    fresh = model.build(CONFIG, WORDS, 3)
    readout = fresh.get_layer("reader").get_layer("readout").get_weights()
    pretrain.apply(start, fresh)
    for layer in (fresh.get_layer("embedding"), *recurrent_layers(fresh)):
        for given, taken in zip(start[layer.name], layer.get_weights(), strict=True):
            np.testing.assert_array_equal(given, taken)
    for before, after in zip(
        readout, fresh.get_layer("reader").get_layer("readout").get_weights(), strict=True
    ):
        np.testing.assert_array_equal(before, after)


def test_networks_together_answer_with_the_mean_of_their_probabilities():
    networks = [model.build(CONFIG, WORDS, 3, member) for member in range(3)]
    answers = [model.compiled(network)(NUMBERS).numpy() for network in networks]
    together = model.compiled(model.together(networks))(NUMBERS).numpy()
    np.testing.assert_allclose(together, np.mean(answers, axis=0), rtol=1e-5)
    assert model.together(networks[:1]) is networks[0]


def test_words_are_hidden_at_the_asked_rate_and_padding_never():
    keras.utils.set_random_seed(0)
    numbers = np.where(np.arange(400) < 300, 7, 0) * np.ones((50, 1), np.int32)
    layer = model.HiddenWords(0.2)
    hidden = layer(tf.constant(numbers.astype(np.int32)), training=True).numpy()
    assert (hidden[:, :300] == model.UNKNOWN).mean() == pytest.approx(0.2, abs=0.01)
    assert (hidden[:, 300:] == 0).all()
