"""What deploy/ has for Slurm and Kubernetes: against Kubernetes's schemas, and run with stand-ins
for what a cluster has."""

import os
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from common import cluster
from tests.commands import ROOT

MANIFEST = ROOT / "deploy" / "kubernetes" / "train.yaml"
SAYS = 'echo "$TF_CONFIG" | tr -d "\\n"; echo; echo "$@"'


def resources() -> dict[str, dict[str, Any]]:
    return {one["kind"]: one for one in yaml.safe_load_all(MANIFEST.read_text())}


@pytest.mark.parametrize("kind", ["Service", "PersistentVolumeClaim", "Job"])
def test_the_manifests_are_what_kubernetes_expects(kind: str) -> None:
    assert kubernetes_validate.validate(resources()[kind], "1.34", strict=True) == "1.34"


def test_a_manifest_with_a_slip_is_refused() -> None:
    job = resources()["Job"]
    job["spec"]["template"]["spec"]["containers"][0]["imagee"] = "x"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, "1.34", strict=True)


def test_the_manifests_fit_together() -> None:
    found = resources()
    job, service = found["Job"], found["Service"]
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": job["metadata"]["name"]}
    assert job["spec"]["completions"] == job["spec"]["parallelism"]
    assert container["env"] == [{"name": "WORKERS", "value": str(job["spec"]["completions"])}]
    claim = pod["volumes"][0]["persistentVolumeClaim"]["claimName"]
    assert claim == found["PersistentVolumeClaim"]["metadata"]["name"]


def stand_in(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(0o755)
    return path


def run(words: list[object], folder: Path, **variables: object) -> str:
    around = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    around["PATH"] = f"{folder}:{around['PATH']}"
    done = subprocess.run(
        list(map(str, words)), cwd=ROOT, env=around, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def places(said: str, monkeypatch: pytest.MonkeyPatch) -> dict[int, tuple[str, ...]]:
    """Index and addresses of each worker, as the suite itself reads them."""
    found = {}
    for line in said.splitlines():
        if line.startswith("{"):
            monkeypatch.setenv("TF_CONFIG", line)
            here = cluster.place()
            found[here.index] = here.addresses
    return found


@pytest.mark.parametrize("index", [0, 1])
def test_a_pod_starts_its_worker(
    index: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (container,) = resources()["Job"]["spec"]["template"]["spec"]["containers"]
    given = {one["name"]: one["value"] for one in container["env"]}
    python = stand_in(tmp_path, "python", SAYS)
    words = [*container["command"], *container["args"]]
    said = run(words, tmp_path, JOB_COMPLETION_INDEX=index, PYTHON=python, **given)
    assert places(said, monkeypatch) == {
        index: ("recurrent-0.recurrent:2222", "recurrent-1.recurrent:2222")
    }
    assert said.splitlines()[-1] == (
        "-m apps.sentiment.train --run-dir /runs/sentiment --strategy multi-worker "
        "--worker-minutes 15"
    )


SRUN = """
while [[ $1 == --* ]]; do shift; done
for SLURM_PROCID in 0 1 2; do export SLURM_PROCID; "$@" || exit; done
"""


def test_a_slurm_job_starts_a_worker_on_each_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, "scontrol", '[ "$*" = "show hostnames n[1-3]" ] && printf "n1\\nn2\\nn3\\n"')
    stand_in(tmp_path, "srun", SRUN)
    python = stand_in(tmp_path, "python", SAYS)
    script = ROOT / "deploy" / "slurm" / "train.sbatch"
    words = ["bash", script, tmp_path / "run", "music", "--strategy", "multi-worker", "--epochs", 3]
    given = {"SLURM_JOB_NODELIST": "n[1-3]", "SLURM_JOB_ID": 123456, "PYTHON": python}
    said = run(words, tmp_path, **given)
    addresses = ("n1:23456", "n2:23456", "n3:23456")
    assert places(said, monkeypatch) == dict.fromkeys(range(3), addresses)
    wanted = f"-m apps.music.train --run-dir {tmp_path}/run --strategy multi-worker --epochs 3"
    assert said.splitlines()[1::2] == [wanted] * 3


def test_a_run_that_is_there_goes_on_and_a_lost_group_starts_again(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    stand_in(tmp_path, "scontrol", "echo n1")
    stand_in(tmp_path, "srun", SRUN.replace("0 1 2", "0"))
    once = f'echo "$@"; [ -e {tmp_path}/tried ] || {{ touch {tmp_path}/tried; exit 2; }}'
    python = stand_in(tmp_path, "python", once)
    words = ["bash", ROOT / "deploy" / "slurm" / "train.sbatch", tmp_path / "run", "speech"]
    given = {"SLURM_JOB_NODELIST": "n1", "SLURM_JOB_ID": 7, "PYTHON": python}
    said = run(words, tmp_path, **given)
    assert said.splitlines() == [f"-m apps.speech.train --resume {tmp_path}/run"] * 2
