"""The plain recurrence says what the one that is trained says."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose

from common import export, formats, plain
from common.cells import CELLS, make_cell
from common.layers import Recurrent
from common.loops import lacking

TIME, BATCH, FEATURES, UNITS = 7, 3, 4, 5


def sequences() -> tuple[tf.Tensor, tf.Tensor]:
    """Inputs, and a mask with holes at either end and inside."""
    random = np.random.default_rng(0)
    mask = np.ones((BATCH, TIME), bool)
    mask[0, :2] = mask[1, 3] = mask[2, 5:] = False
    inputs = random.normal(size=(BATCH, TIME, FEATURES)).astype(np.float32)
    return tf.constant(inputs), tf.constant(mask)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_says_the_same_either_way_round(cell: str, reverse: bool) -> None:
    random = np.random.default_rng(1)
    inputs, mask = sequences()
    layer = Recurrent(make_cell(cell, UNITS), reverse=reverse, return_state=True)
    layer(inputs)
    for weight in layer.weights:
        weight.assign(random.normal(scale=0.7, size=weight.shape))
    sizes = np.atleast_1d(layer.cell.state_size)
    start = [tf.constant(random.normal(size=(BATCH, n)), tf.float32) for n in sizes]
    for how in ({}, {"mask": mask}, {"mask": mask, "initial_state": start}):
        wanted = layer(inputs, **how)
        with plain.recurrences():
            found = layer(inputs, **how)
        assert len(found) == len(wanted)
        for said, true in zip(found, wanted, strict=True):
            assert_allclose(said, true, rtol=1e-5, atol=1e-6)


def test_segments_say_the_same() -> None:
    inputs, mask = sequences()
    layer = Recurrent(make_cell("lstm", UNITS), reverse=True, segment=3)
    wanted = layer(inputs, mask=mask)
    with plain.recurrences():
        found = layer(inputs, mask=mask)
    assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_a_graph_of_one_sequence_keeps_its_fixed_size() -> None:
    layer = Recurrent(make_cell("gru", UNITS), reverse=True)
    inputs, _ = sequences()
    layer(inputs)

    @tf.function(input_signature=[tf.TensorSpec([1, None, FEATURES])])
    def asked(one: tf.Tensor) -> tf.Tensor:
        with plain.recurrences():
            return layer(one)

    graph = asked.get_concrete_function().graph
    kinds = {op.type for op in graph.get_operations()}
    assert not kinds & {"EnsureShape", "IdentityN"}
    assert_allclose(asked(inputs[:1]), layer(inputs[:1]), rtol=1e-5, atol=1e-6)
    assert not plain.wanted()


def test_an_onnx_file_takes_every_length(tmp_path: Path) -> None:
    layer = Recurrent(make_cell("lstm", UNITS), reverse=True, segment=3)
    inputs, mask = sequences()
    wanted = {length: layer(inputs[:, :length], mask=mask[:, :length]) for length in (1, 3, 4, 7)}

    def read(given: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        with plain.recurrences():
            return {"read": layer(given["x"], mask=given["mask"])}

    specs = {
        "x": tf.TensorSpec([None, None, FEATURES], tf.float32, "x"),
        "mask": tf.TensorSpec([None, None], tf.bool, "mask"),
    }
    export.write([layer], {"whole": (read, [specs])}, tmp_path / "1")
    [content] = formats.to_onnx(tmp_path / "1", "whole").values()
    asked = formats.of_onnx(content)
    for length, said in wanted.items():
        given = {"x": inputs[:, :length].numpy(), "mask": mask[:, :length].numpy()}
        assert_allclose(asked(given)["read"], said, rtol=1e-5, atol=1e-6)


def test_what_lacks_to_a_multiple() -> None:
    assert [lacking(count, 3) for count in range(7)] == [0, 2, 1, 0, 2, 1, 0]


def test_an_answer_that_is_no_number_is_as_far_off_as_can_be() -> None:
    answer = np.ones((2, 3), np.float32)
    wanted = {"point": answer, "quantiles": answer}
    found = {"point": answer, "quantiles": np.where([[1], [0]], answer, np.nan)}
    assert formats.furthest(found, wanted) == (np.inf, "quantiles")
    assert formats.furthest(wanted, wanted)[0] == 0
