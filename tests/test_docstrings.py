"""What can be used from outside says what it does, what it raises, and the shapes of its arrays."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.commands import ROOT

FILES = sorted(
    path.relative_to(ROOT)
    for folder in ("common", "apps", "studies")
    for path in (ROOT / folder).rglob("*.py")
)
CONTRACT = {"build", "call", "get_config", "from_config", "compute_mask"}
"""Of every Keras layer: Keras says what they are for."""
ARRAY = re.compile(r"\bnp\.ndarray\b|\btf\.Tensor\b")
SHAPE = re.compile(r"``[^`]*\[[^`]*\]``")
WITHOUT_SHAPES = {
    "common/checkpoints.py: arrays": "of any shape",
    "common/export.py: answer_in_clean_process": "of any signature",
    "common/scan.py: first_order": "of any shape",
    "common/warmup.py: read": "of any signature",
    "common/warmup.py: write": "of any signature",
    "studies/cluster_demo.py: weights": "of any shape",
    "studies/training.py: Learner.start_from": "of any shape",
}
"""Functions whose arrays have whatever shape comes, and why."""


class Place(NamedTuple):
    """A public function, method or class."""

    file: Path
    name: str
    node: ast.FunctionDef | ast.ClassDef
    inherited: bool
    """A base class in this project has a method of this name, which says it."""

    @property
    def says(self) -> str:
        return ast.get_docstring(self.node) or ""

    def __str__(self) -> str:
        return f"{self.file}: {self.name}"


def trees() -> dict[Path, ast.Module]:
    return {file: ast.parse((ROOT / file).read_text(encoding="utf-8")) for file in FILES}


def classes() -> dict[str, list[ast.ClassDef]]:
    """By name, which several may have."""
    found: dict[str, list[ast.ClassDef]] = {}
    for tree in trees().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(node)
    return found


def methods_above(node: ast.ClassDef, known: dict[str, list[ast.ClassDef]]) -> set[str]:
    """Names of documented methods of the bases of a class, and of theirs."""
    found = set(CONTRACT)
    for base in node.bases:
        for above in known.get(ast.unparse(base).rpartition(".")[2], []):
            if above is node:
                continue
            found |= methods_above(above, known)
            found |= {n.name for n in above.body if _is_function(n) and ast.get_docstring(n)}
    return found


def _is_function(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef)


def places() -> Iterator[Place]:
    known = classes()

    def of(body: list[ast.stmt], file: Path, within: str, above: set[str]) -> Iterator[Place]:
        for node in body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            yield Place(file, within + node.name, node, node.name in above)
            if isinstance(node, ast.ClassDef):
                inherited = methods_above(node, known)
                yield from of(node.body, file, f"{within}{node.name}.", inherited)

    for file, tree in trees().items():
        yield from of(tree.body, file, "", set())


PLACES = list(places())
FUNCTIONS = [place for place in PLACES if _is_function(place.node)]


def raises_user_error(function: ast.AST) -> bool:
    """In its own lines, not those of functions inside it."""
    for node in ast.iter_child_nodes(function):
        if isinstance(node, ast.Raise) and node.exc is not None:
            name = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            if ast.unparse(name) == "UserError":
                return True
        if not isinstance(node, ast.FunctionDef | ast.Lambda) and raises_user_error(node):
            return True
    return False


def has_arrays(node: ast.FunctionDef) -> bool:
    given = node.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    annotations = [one.annotation for one in every if one is not None]
    return any(ARRAY.search(ast.unparse(a)) for a in [*annotations, node.returns] if a is not None)


def test_what_is_looked_for_is_found() -> None:
    """On code that has it, and code that has not."""
    code = """
def one(rows: "np.ndarray | None") -> int:
    for _ in rows:
        raise UserError("no")
def other(rows: list[int]) -> int:
    def inside():
        raise UserError("no")
    raise ValueError
"""
    one, other = ast.parse(code).body
    assert isinstance(one, ast.FunctionDef)
    assert isinstance(other, ast.FunctionDef)
    assert (raises_user_error(one), raises_user_error(other)) == (True, False)
    assert (has_arrays(one), has_arrays(other)) == (True, False)
    assert SHAPE.search("Rows ``[n, width]``, and of ``[i]``")
    assert not SHAPE.search("Rows [n, width]; ``a`` and [b] and ``c``")
    assert len(PLACES) > 700
    assert {place.inherited for place in FUNCTIONS} == {True, False}


@pytest.mark.parametrize("file", FILES, ids=str)
def test_everything_public_says_what_it_is(file: Path) -> None:
    source = (ROOT / file).read_text(encoding="utf-8")
    assert not source.strip() or ast.get_docstring(ast.parse(source)), f"{file}: the module"
    own = [place for place in PLACES if place.file == file]
    assert not [str(place) for place in own if not (place.says or place.inherited)]


def test_a_user_error_is_told_of() -> None:
    silent = [
        str(place)
        for place in FUNCTIONS
        if raises_user_error(place.node) and not re.search(r"Raises:|Raises UserError", place.says)
    ]
    assert not silent


def test_arrays_have_shapes() -> None:
    silent = {
        str(place)
        for place in FUNCTIONS
        if isinstance(place.node, ast.FunctionDef)
        and has_arrays(place.node)
        and not place.inherited
        and not SHAPE.search(place.says)
    }
    assert sorted(silent - WITHOUT_SHAPES.keys()) == []
    assert sorted(WITHOUT_SHAPES.keys() - silent) == []
