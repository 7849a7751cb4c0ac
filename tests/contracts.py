"""What users of a run's folder rely on, as committed facts: its files, the keys of metrics.json,
and the signatures of its model, of the small runs that the tests train.

    python -m tests.contracts    # writes tests/contracts.json anew, after a change that is meant
"""

import json
import re
from pathlib import Path
from typing import Any

from common import export

FILE = Path(__file__).with_suffix(".json")


def of(run: Path) -> dict[str, Any]:
    """The facts of a run."""
    model, scores = export.load(run / "export" / "1"), run / "metrics.json"
    return {
        "files": sorted({_fixed(path.relative_to(run)) for path in run.rglob("*")}),
        "metrics": sorted(json.loads(scores.read_text())) if scores.exists() else [],
        "signatures": {
            name: {
                "inputs": _described(function.structured_input_signature[1]),
                "outputs": _described(function.structured_outputs),
            }
            for name, function in sorted(model.signatures.items())
        },
        "portable": export.portable(run / "export" / "1"),
    }


def _fixed(path: Path) -> str:
    """Without what differs from day to day."""
    return re.sub(r"events\.out\.tfevents\..*", "events.out.tfevents", path.as_posix())


def _described(specs: dict[str, Any]) -> dict[str, str]:
    return {
        name: f"{spec.dtype.name} [{', '.join('?' if n is None else str(n) for n in spec.shape)}]"
        for name, spec in sorted(specs.items())
    }


if __name__ == "__main__":
    import tests.conftest  # noqa: F401
    from tests.deployment_cases import APPS, run_of

    facts = {app: of(run_of(app)) for app in APPS}
    FILE.write_text(json.dumps(facts, indent=1) + "\n")
