"""The architecture: arrows point inwards, and nobody reaches into a library's private parts."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = ("common", "apps", "studies", "benchmarks", "examples", "tests")
FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in PROJECT
    for path in (ROOT / folder).rglob("*.py")
)
ALLOWED = {
    "common": {"common"},
    "apps": {"apps", "common"},
    "studies": {"studies", "common"},
    "benchmarks": {"benchmarks", "apps", "common"},
    "examples": set(),  # to be taken elsewhere
    "tests": {"tests", "apps", "studies", "examples", "benchmarks", "common"},
}
LIGHT_FILES = "|".join(
    (
        r"common/(config|cli|export)\.py",
        r"apps/\w+/(config|cli|train)\.py",
        r"studies/(?!__init__|training)\w+\.py",
    )
)
LIGHT: dict[str, list[str]] = {}  # what a command line imports before it knows what it will do
for file in FILES:
    if re.fullmatch(LIGHT_FILES, file):
        module = file.removesuffix(".py").replace("/", ".")
        LIGHT.setdefault(module.rpartition(".")[0], []).append(module)
VAGUE_NAMES = {"utils", "helpers", "manager"}


def names_used(source: str, package: str) -> Iterator[str]:
    """Dotted names that a module imports, or reaches through what it imports.

    Args:
        source: the module's text.
        package: the dotted package that holds it, for relative imports.
    """
    tree = ast.parse(source)
    bound: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
                top = alias.name.partition(".")[0]
                bound[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            above = parents[: len(parents) + 1 - node.level] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{module}.{alias.name}"
                bound[alias.asname or alias.name] = f"{module}.{alias.name}"
    for node in ast.walk(tree):
        attributes: list[str] = []
        while isinstance(node, ast.Attribute):
            attributes.insert(0, node.attr)
            node = node.value
        if attributes and isinstance(node, ast.Name) and node.id in bound:
            yield ".".join([bound[node.id], *attributes])


def is_private(name: str) -> bool:
    """Whether a name is one that TensorFlow or Keras do not promise to keep."""
    library, *parts = name.split(".")
    if library not in ("tensorflow", "keras"):
        return False
    hidden = any(part.startswith("_") and part != "__version__" for part in parts)
    return hidden or parts[:1] == [{"tensorflow": "python", "keras": "src"}[library]]


def may_use(file: str, name: str) -> bool:
    """Whether the architecture lets a file use a name of the project's own."""
    owner, target = file.split("/"), name.split(".")
    if target[0] not in PROJECT:
        return True
    if file.startswith("tests/reference") and target[:2] != ["tests", "reference"]:
        return False  # equations in NumPy, of nobody else
    if target[0] not in ALLOWED[owner[0]]:
        return False
    if owner[0] == target[0] == "apps" and len(owner) > 2:
        pair = {owner[-1], f"{''.join(target[2:3])}.py"}
        return target[1:2] == [owner[1]] and pair != {"model.py", "data.py"}
    return True


@pytest.fixture
def used(file: str) -> list[str]:
    package = ".".join(file.split("/")[:-1])
    return sorted(set(names_used((ROOT / file).read_text(encoding="utf-8"), package)))


@pytest.mark.parametrize("file", FILES)
def test_a_file_uses_only_what_lies_further_in(file: str, used: list[str]) -> None:
    assert [name for name in used if not may_use(file, name)] == []


@pytest.mark.parametrize("file", FILES)
def test_a_file_uses_no_private_part_of_tensorflow_or_keras(used: list[str]) -> None:
    assert [name for name in used if is_private(name)] == []


@pytest.mark.parametrize("file", FILES)
def test_a_file_has_a_name_that_says_something(file: str) -> None:
    assert not VAGUE_NAMES & set(file.removesuffix(".py").split("/"))


@pytest.mark.parametrize("owner", LIGHT)
def test_a_command_line_is_made_without_tensorflow(owner: str) -> None:
    program = (
        f"import sys, {', '.join(LIGHT[owner])}\n"
        "sys.exit(str({'tensorflow', 'keras'} & set(sys.modules) or ''))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == ""


# The rules see what they should


@pytest.mark.parametrize(
    "source",
    [
        "import keras.src.layers",
        "from keras import src",
        "from keras.src.backend import rnn",
        "import keras as k\nk.src.layers",
        "import tensorflow as tf\ndef f():\n    return tf.python.ops",
        "import tensorflow as tf\ntf.__internal__.tracking.wrap(3)",
        "from tensorflow.python.ops import array_ops",
        "from tensorflow import __internal__",
    ],
)
def test_a_private_part_is_noticed(source: str) -> None:
    assert any(map(is_private, names_used(source, "common")))


@pytest.mark.parametrize(
    "source",
    [
        "import keras\nkeras.__version__",
        "import tensorflow as tf\ntf.nn.relu(x)._value",
        "from tensorflow.keras import layers",
        "python = 3\nfrom python import src",
    ],
)
def test_a_public_part_is_let_through(source: str) -> None:
    assert not any(map(is_private, names_used(source, "common")))


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("common/training.py", "import apps.music"),
        ("common/training.py", "from tests import reference"),
        ("common/cells/base.py", "from tests.reference import lstm"),
        ("apps/music/train.py", "from apps.speech import data"),
        ("apps/music/train.py", "from apps import speech"),
        ("apps/music/train.py", "from ..speech.model import build"),
        ("apps/music/train.py", "import benchmarks.speed"),
        ("apps/music/model.py", "from apps.music import data"),
        ("apps/music/data.py", "from .model import build"),
        ("common/training.py", "from studies import training"),
        ("apps/music/train.py", "import studies.config"),
        ("studies/copy_memory.py", "from apps.music import data"),
        ("tests/reference.py", "from common.cells import CELLS"),
        ("tests/reference.py", "from . import test_cells"),
        ("tests/reference_music.py", "from apps.music import density"),
        ("benchmarks/speed.py", "from tests import reference"),
        ("studies/report.py", "import benchmarks"),
        ("examples/log_mel.py", "from common import data"),
    ],
)
def test_an_outward_arrow_is_noticed(file: str, source: str) -> None:
    package = ".".join(file.split("/")[:-1])
    assert not all(may_use(file, name) for name in names_used(source, package))


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("common/training.py", "import numpy as np\nfrom common import cells"),
        ("apps/music/train.py", "from apps.music import data, model\nimport common.cells"),
        ("apps/music/train.py", "from .model import build"),
        ("apps/music/model.py", "from apps.music.encoding import Encoding"),
        ("tests/test_cells.py", "from apps.music import data\nfrom tests import reference"),
        ("benchmarks/speed.py", "from apps.music import model\nfrom common import cells"),
        ("studies/copy_memory.py", "from common import plots\nfrom studies import report"),
        ("tests/reference.py", "import numpy as np"),
        ("tests/reference_music.py", "from tests.reference import sigmoid"),
    ],
)
def test_an_inward_arrow_is_let_through(file: str, source: str) -> None:
    package = ".".join(file.split("/")[:-1])
    assert all(may_use(file, name) for name in names_used(source, package))
