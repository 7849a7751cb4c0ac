"""What the documents name is there: files, headings, modules, names in them, make's targets."""

import functools
import importlib
import importlib.util
import re
from pathlib import Path

import pytest

from tests.commands import ROOT

PLACES = ("*.md", "docs/*.md", "apps/*/README.md", "studies/README.md")
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix() for place in PLACES for path in ROOT.glob(place)
)
CODE = re.compile(r"^```.*?^```$|^(?: {4}[^\n]*\n)+", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
NAME = re.compile(r"`((?:common|apps|studies|benchmarks|tests)(?:\.\w+)+)`")
FILE = re.compile(r"`((?:common|apps|studies|benchmarks|tests|docs|examples|deploy)/[\w./-]*\w/?)`")
MODULE = re.compile(r"python -m ((?:common|apps|studies|benchmarks|tests)(?:\.\w+)+)")
TARGET = re.compile(r"(?:^ {4}|`|^)make ([a-z][\w-]*)", re.MULTILINE)
ELSEWHERE = ("apps.digits", "apps/digits")  # CONTRIBUTING.md shows how it is made


def found(document: str, what: re.Pattern[str]) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    names = sorted(set(what.findall(CODE.sub("", text) if what is LINK else text)))
    return [name for name in names if not name.startswith(ELSEWHERE)]


@functools.cache
def anchors(path: Path) -> set[str]:
    """What GitHub makes of a document's headings."""
    text = CODE.sub("", path.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def stands(name: str) -> bool:
    """Whether ``package.module.Name.attribute`` can be reached."""
    words = name.split(".")
    for end in range(len(words), 0, -1):
        module = ".".join(words[:end])
        try:
            if importlib.util.find_spec(module) is None:
                continue
        except ModuleNotFoundError:
            continue
        at = importlib.import_module(module)
        for word in words[end:]:
            if not hasattr(at, word):
                return word in getattr(at, "__annotations__", {})
            at = getattr(at, word)
        return True
    return False


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    for link in found(document, LINK):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / document).parent / path if path else ROOT / document
        assert target.exists(), f"{document}: {link}"
        assert not anchor or anchor in anchors(target), f"{document}: {link}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_is_named_is_there(document: str) -> None:
    assert [name for name in found(document, NAME) if not stands(name)] == []
    assert [name for name in found(document, FILE) if not there(name)] == []
    assert [name for name in found(document, MODULE) if not stands(name)] == []


def there(name: str) -> bool:
    """Files that tools make are not in the repository."""
    made = name.startswith("benchmarks/results")
    return made or (ROOT / name).exists()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_make_is_asked_for_it_can_make(document: str) -> None:
    targets = re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(found(document, TARGET)) <= set(targets)


def test_the_checks_see_what_is_wrong() -> None:
    assert not stands("common.cells.simple.NoSuchCell")
    assert not stands("common.no_such_module")
    assert not stands("apps.sentiment.model.build.no_such_attribute")
    assert not there("common/no_such_file.py")
    assert "the-cells-and-the-mathematics" in anchors(ROOT / "README.md")
    assert "no-such-heading" not in anchors(ROOT / "README.md")
