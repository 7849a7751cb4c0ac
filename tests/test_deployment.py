"""docs/deployment.md, tried: every application's model where none of this code is."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

from common import export, warmup
from tests import contracts
from tests.commands import ROOT, command, refusal
from tests.deployment_cases import APPS, Arrays, cases, export_of, first_of, run_of

FIXED = {"classes", "levels"}
"""Answers that are the same for every batch."""


def test_every_application_is_tried() -> None:
    assert set(APPS) == {path.parent.name for path in (ROOT / "apps").glob("*/train.py")}


# TensorFlow alone

ASK = """
import json, sys
sys.modules["keras"] = None  # to import it fails
import numpy as np, tensorflow as tf
for line in sys.stdin:
    folder, model, asked = json.loads(line)
    loaded = tf.saved_model.load(model)
    for number, (name, signature) in enumerate(asked):
        with np.load(f"{folder}/{number}.npz") as given:
            inputs = {k: tf.constant(v) for k, v in given.items()}
        try:
            outputs = {k: v.numpy() for k, v in loaded.signatures[signature](**inputs).items()}
            outputs = {k: v.astype(bytes) if v.dtype == object else v for k, v in outputs.items()}
        except tf.errors.InvalidArgumentError as error:
            outputs = {"error": np.array(error.message)}
        np.savez(f"{folder}/{number}.answers.npz", **outputs)
assert not {"apps", "common"} & {name.split(".")[0] for name in sys.modules}
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Arrays]]:
    """By application and case, all by one process that has imported TensorFlow alone."""
    folders = {app: tmp_path_factory.mktemp(app) for app in APPS}
    lines = []
    for app, folder in folders.items():
        for number, case in enumerate(cases(app).values()):
            np.savez(folder / f"{number}.npz", allow_pickle=False, **case.inputs)
        asked = [(name, case.signature) for name, case in cases(app).items()]
        lines.append(json.dumps([str(folder), str(export_of(app).absolute()), asked]))
    words = [sys.executable, "-I", "-c", ASK]
    done = subprocess.run(
        words, input="\n".join(lines), cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, dict[str, Arrays]] = {}
    for app, folder in folders.items():
        for number, name in enumerate(cases(app)):
            with np.load(folder / f"{number}.answers.npz") as said:
                found.setdefault(app, {})[name] = dict(said)
    return found


@pytest.mark.parametrize("app", APPS)
def test_tensorflow_alone_answers_whatever_is_allowed(app: str, answers: Any) -> None:
    for name, case in cases(app).items():
        said = answers[app][name]
        if case.refused:
            assert case.refused in str(said.get("error")), name
            continue
        assert "error" not in said, (name, said)
        for output, value in said.items():
            if value.dtype.kind == "f":
                assert np.isfinite(value).all(), (name, output)
            if output not in FIXED and np.ndim(value):
                sizes = [len(given) for given in case.inputs.values() if np.ndim(given)]
                assert len(value) == sizes[0], (name, output)


@pytest.mark.parametrize("app", APPS)
def test_company_of_other_lengths_changes_no_answer(app: str, answers: Any) -> None:
    alone, among = (first_of(app, answers[app][name]) for name in ("alone", "mixed"))
    assert alone
    for output, value in alone.items():
        if value.dtype.kind == "f":
            assert_allclose(among[output], value, rtol=1e-4, atol=1e-5, err_msg=output)
        else:
            assert_array_equal(among[output], value, err_msg=output)


def test_what_is_empty_gets_the_answer_that_is_documented(answers: Any) -> None:
    assert_allclose(answers["sentiment"]["empty"]["probabilities"].sum(), 1, rtol=1e-5)
    assert answers["music"]["empty"]["roll"].shape == (1, 0, 88)
    assert answers["music"]["nothing to score"]["nll"].shape == (1, 0)
    for name in ("empty", "one"):
        assert answers["speech"][name]["text"].tolist() == [b""]
    assert answers["gesture"]["empty"]["probabilities"].shape[:2] == (1, 0)


# Requests that a model carries, and its contract


@pytest.mark.parametrize("app", APPS)
def test_a_model_answers_the_requests_that_it_carries(app: str) -> None:
    model, asked = export.load(export_of(app)), warmup.read(export_of(app))
    assert {"serving_default", *export.portable(export_of(app))} <= set(asked)
    for signature, inputs in asked.items():
        specs = model.signatures[signature].structured_input_signature[1]
        assert {name: value.dtype for name, value in inputs.items()} == {
            name: spec.dtype.as_numpy_dtype for name, spec in specs.items()
        }
        said = model.signatures[signature](**{k: tf.constant(v) for k, v in inputs.items()})
        for value in said.values():
            assert value.dtype == tf.string or np.isfinite(value.numpy()).all()


@pytest.mark.parametrize("app", APPS)
def test_a_run_has_the_files_and_the_signatures_that_it_had(app: str) -> None:
    """After a change that is meant: python -m tests.contracts"""
    assert contracts.of(run_of(app)) == json.loads(contracts.FILE.read_text())[app]


# Other runtimes

RUN = """
import json, sys, numpy as np
for line in sys.stdin:
    file, given, answers = json.loads(line)
    with np.load(given) as loaded:
        inputs = dict(loaded)
    if file.endswith(".tflite"):
        from ai_edge_litert.interpreter import Interpreter
        said = Interpreter(file).get_signature_runner()(**inputs)
    else:
        import onnxruntime
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        said = dict(zip(names, session.run(names, inputs)))
    np.savez(answers, **said)
assert not {"tensorflow", "apps", "common", "keras"} & {n.split(".")[0] for n in sys.modules}
"""
FILES = {
    "sentiment": {"onnx/read.onnx"},
    "timeseries": {"onnx/window.onnx", "litert/window_float32.tflite", "litert/window_int8.tflite"},
    "music": {"onnx/weigh.onnx"},
    "speech": {"onnx/encode.onnx", "litert/encode_float32.tflite", "litert/encode_int8.tflite"},
    "gesture": {"onnx/stream.onnx", "litert/stream_float32.tflite", "litert/stream_int8.tflite"},
}


def longer(inputs: Arrays) -> Arrays:
    """The same asked of two sequences that follow each other as one. (What is no sequence is
    left.)"""
    return {
        name: np.concatenate([value, value], axis=1) if np.ndim(value) > 1 else value
        for name, value in inputs.items()
    }


def shorter(inputs: Arrays) -> Arrays:
    """The same without its first two steps."""
    return {n: value[:, 2:] if np.ndim(value) > 1 else value for n, value in inputs.items()}


def with_gaps(inputs: Arrays) -> Arrays:
    """The same with two values missing."""
    target = inputs["target"].copy()
    target[:, [0, 7]] = np.nan
    return {**inputs, "target": target}


def ask_elsewhere(files: list[Path], asked: Arrays, folder: Path) -> list[Arrays]:
    """What files say in a process that has neither TensorFlow nor this project."""
    np.savez(folder / "given.npz", allow_pickle=False, **asked)
    places = [folder / f"{number}.npz" for number in range(len(files))]
    lines = [
        json.dumps([str(file), str(folder / "given.npz"), str(place)])
        for file, place in zip(files, places, strict=True)
    ]
    done = subprocess.run(
        [sys.executable, "-I", "-c", RUN],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [dict(np.load(place)) for place in places]


@pytest.mark.parametrize(
    "app", [pytest.param(app, marks=[] if app == "gesture" else pytest.mark.slow) for app in APPS]
)
def test_other_runtimes_say_what_the_savedmodel_says(app: str, tmp_path: Path) -> None:
    answer = command("common.export", "--run", run_of(app), "--out", tmp_path / "to")
    assert answer.code == 0, answer.err
    files = sorted(path for path in (tmp_path / "to").rglob("*") if path.is_file())
    assert {path.relative_to(tmp_path / "to").as_posix() for path in files} == FILES[app]
    printed = re.findall(r"maximum difference from the SavedModel (\S+)", answer.out)
    assert len(printed) == len(files)
    [signature] = export.portable(export_of(app))
    model, example = export.load(export_of(app)), warmup.read(export_of(app))[signature]
    for change in (with_gaps, shorter) if app == "timeseries" else (longer, shorter):
        asked = change(example)
        given = {name: tf.constant(value) for name, value in asked.items()}
        wanted = model.signatures[signature](**given)
        for file, said in zip(files, ask_elsewhere(files, asked, tmp_path), strict=True):
            for name, value in wanted.items():
                near = 0.05 if "int8" in file.name else 1e-4
                atol = near * float(np.abs(value).max())
                assert_allclose(said[name], value, rtol=near, atol=atol, err_msg=f"{file} {name}")


# The tools that come with TensorFlow


def tool(*words: object) -> str:
    """``saved_model_cli``, of this environment."""
    path = Path(sys.executable).with_name("saved_model_cli")
    done = subprocess.run([path, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """examples/serve.c, compiled as docs/deployment.md says."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler, "a C compiler is expected, such as gcc"
    where, made = Path(tf.sysconfig.get_lib()), tmp_path_factory.mktemp("c") / "serve"
    words = [compiler, "-O1", "-Wall", "-Wextra", "-Werror", ROOT / "examples" / "serve.c"]
    words += ["-o", made, f"-I{where}/include", f"-L{where}", f"-Wl,-rpath,{where}"]
    words += ["-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"]
    subprocess.run(list(map(str, words)), check=True)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("app", APPS)
def test_a_c_program_asks_by_the_names_that_the_tool_shows(
    app: str, program: Path, tmp_path: Path
) -> None:
    shown = tool(
        "show", "--dir", export_of(app), "--tag_set", "serve", "--signature_def", "serving_default"
    )
    names = dict(re.findall(r"puts\['(\w+)'\] tensor_info:(?:.|\n)*?name: (\S+)", shown))
    example = warmup.read(export_of(app))["serving_default"]
    words: list[object] = [program, export_of(app)]
    for name, value in example.items():
        file, kind = (
            tmp_path / name,
            {"f": "float", "b": "bool", "O": "string"}.get(value.dtype.kind),
        )
        content = (
            value.reshape(-1)[0] if kind == "string" else np.ascontiguousarray(value).tobytes()
        )
        file.write_bytes(content)
        shape = "x".join(map(str, value.shape)) or "-"
        words += ["in", names[name], kind or value.dtype.name, shape, file]
    given = {name: tf.constant(value) for name, value in example.items()}
    wanted = export.load(export_of(app)).signatures["serving_default"](**given)
    words += [word for name in wanted for word in ("out", names[name])]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    for (name, value), line in zip(wanted.items(), done.stdout.splitlines(), strict=True):
        head, _, said = line.partition("]")
        assert head == f"{names[name]} [" + " ".join(map(str, value.shape)), name
        if value.dtype == tf.string:
            assert said.split() == b" ".join(value.numpy().reshape(-1)).decode().split()
        else:
            assert_allclose(
                np.array(said.split(), float),
                value.numpy().reshape(-1),
                rtol=1e-4,
                atol=1e-5,
                err_msg=name,
            )


@pytest.mark.slow
def test_the_c_program_says_what_it_misses(program: Path, tmp_path: Path) -> None:
    for words in ([], [tmp_path, "out", "x", "out", "y"], [export_of("sentiment"), "out", "x:0"]):
        done = subprocess.run(
            list(map(str, [program, *words])), capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert "serve: " in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("app", APPS)
def test_the_tool_that_comes_with_tensorflow_runs_it(app: str, tmp_path: Path) -> None:
    example = warmup.read(export_of(app))["serving_default"]
    example = {n: v.astype(str) if v.dtype == object else v for n, v in example.items()}
    np.savez(tmp_path / "given.npz", allow_pickle=False, **example)
    given = ";".join(f"{name}={tmp_path / 'given.npz'}[{name}]" for name in example)
    said = tool(
        "run",
        "--dir",
        export_of(app),
        "--tag_set",
        "serve",
        "--signature_def",
        "serving_default",
        "--inputs",
        given,
    )
    for output in export.load(export_of(app)).signatures["serving_default"].structured_outputs:
        assert f"Result for output key {output}" in said


# python -m common.export


def test_versions_are_numbered_and_none_is_touched(tmp_path: Path) -> None:
    model = export_of("sentiment")
    store = tmp_path / "models" / "sentiment"
    (store / "7").mkdir(parents=True)
    (store / "latest").mkdir()
    words = ["common.export", "--run", run_of("sentiment"), "--to", "savedmodel", "--out", store]
    for number in (8, 9):
        answer = command(*words)
        assert answer.code == 0, answer.err
        assert f"{store / str(number)}: " in answer.out
    assert {path.name for path in store.iterdir()} == {"7", "8", "9", "latest"}
    assert not list((store / "7").iterdir())
    here, there = (
        {f.relative_to(m): f.read_bytes() for f in m.rglob("*") if f.is_file()}
        for m in (model, store / "9")
    )
    assert here == there


def test_what_can_not_be_converted_is_refused(tmp_path: Path) -> None:
    run = run_of("sentiment")
    words = ["common.export", "--run"]
    assert "no config.json" in refusal(command(*words, tmp_path))
    assert "expected savedmodel, litert, onnx" in refusal(command(*words, run, "--to", "coreml"))
    assert "give --out" in refusal(command(*words, run, "--to", "savedmodel"))
    assert "goes into it" in command(*words, run, "--to", "litert", "--out", tmp_path).out


@pytest.mark.parametrize(
    "listed", ['{"read": ["os.system"]}', '{"read": "onnx"}', '["read"]', "", '{"none": ["onnx"]}']
)
def test_a_list_that_names_something_else_is_refused(listed: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_of("sentiment"), run)
    file = run / "export" / "1" / "assets.extra" / "portable.json"
    file.write_text(listed)
    assert str(file) in refusal(command("common.export", "--run", run, "--to", "onnx"))
    file.unlink()
    assert "train anew" in refusal(command("common.export", "--run", run))
