"""Nothing in the code would run what a file says."""

import ast
from pathlib import Path

import keras
import pytest

from common.errors import UserError
from tests.test_imports import FILES, ROOT

# Code

DANGEROUS = {
    "pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle",
    "torch.load", "yaml.load", "yaml.unsafe_load", "pandas.read_pickle", "pd.read_pickle",
    "eval", "exec", "compile", "__import__", "importlib.import_module", "import_module",
    "load_model", "keras.models.load_model", "keras.saving.load_model", "deserialize_keras_object",
    "keras.saving.deserialize_keras_object", "enable_unsafe_deserialization",
    "keras.config.enable_unsafe_deserialization", "model_from_json",
}  # fmt: skip
ALLOWED = {
    ("apps/gesture/data.py", "allow_pickle=True"),  # of a file whose SHA-256 is known
    # Of an application of the suite, by its name on the command line.
    ("benchmarks/measure.py", "importlib.import_module"),
    # Of a layer's own configuration, in Keras's safe mode, which is its default.
    ("common/layers.py", "keras.saving.deserialize_keras_object"),
}


def dangers(source: str) -> set[str]:
    """What in a module could run what a file says."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names} & DANGEROUS
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module).partition(".")[0], *(a.name for a in node.names)} & DANGEROUS
        elif isinstance(node, ast.Call):
            found |= {ast.unparse(node.func)} & DANGEROUS
        elif isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "safe_mode"):
            safe = {"allow_pickle": False, "safe_mode": True}[node.arg]
            value = node.value.value if isinstance(node.value, ast.Constant) else None
            if value is not safe:
                found.add(f"{node.arg}={ast.unparse(node.value)}")
    return found


@pytest.mark.parametrize("file", [file for file in FILES if not file.startswith("tests/")])
def test_no_file_runs_what_it_is_told_by_data(file: str) -> None:
    found = {(file, danger) for danger in dangers((ROOT / file).read_text(encoding="utf-8"))}
    assert found <= ALLOWED


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "np.load(f, allow_pickle=True)",
        "np.load(f, allow_pickle=trusted)",
        "torch.load(f)",
        "eval(text)",
        "keras.models.load_model(f, safe_mode=False)",
        "from importlib import import_module",
        "keras.saving.deserialize_keras_object(config)",
    ],
)
def test_what_could_run_a_file_is_noticed(source: str) -> None:
    assert dangers(source)


def test_a_keras_file_would_be_loaded_in_safe_mode(tmp_path: Path) -> None:
    """Keras files are written by nobody here; what could load one refuses code in it."""
    inputs = keras.Input((2,))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x * 2)(inputs)).save(tmp_path / "a.keras")
    with pytest.raises(ValueError, match=r"safe_mode|unsafe"):
        keras.saving.load_model(tmp_path / "a.keras")


def test_a_user_error_is_no_other_error() -> None:
    assert not issubclass(UserError, ValueError | OSError | RuntimeError)
