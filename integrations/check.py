#!/usr/bin/env python3
"""Validates the files for other schedulers, each with the strictest program for its form that runs without the scheduler.

For each there is a witness: the same file with a mistake in it, which must be refused. Nothing here runs a job.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import hcl2

HERE = Path(__file__).resolve().parent
PROGRAMS = Path(sys.executable).parent


def systemd(text: str, name: str) -> str:
    """Returns what `systemd-analyze verify` says to a unit."""
    # It forbids sethostname(2), and with it the jail. No program that only reads units knows that.
    if "ProtectHostname=yes" in text.splitlines():
        return f"{name}: ProtectHostname=yes, and the jail sets a name"
    with tempfile.TemporaryDirectory() as folder:
        # The program does not have to be installed here.
        text = text.replace("/usr/local/bin/bottle", "/bin/true")
        unit = Path(folder) / name.replace("@", "@test")
        unit.write_text(text)
        words = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr + ("" if done.returncode == 0 else f"status {done.returncode}")


def validated(*words: str) -> Callable[[str, str], str]:
    """Returns a check by a program of the environment that takes a file."""

    def check(text: str, name: str) -> str:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / name
            file.write_text(text)
            line = [str(PROGRAMS / words[0]), *words[1:], str(file)]
            done = subprocess.run(line, capture_output=True, text=True, timeout=120)
        return "" if done.returncode == 0 else done.stdout + done.stderr

    return check


def nomad(text: str, name: str) -> str:
    """Returns what is wrong with a job: its syntax, and the blocks that a task needs."""
    try:
        job = hcl2.load(io.StringIO(text))
    except Exception as error:  # noqa: BLE001 the parser raises several
        return f"{name}: {type(error).__name__}"
    words = str(job)
    missing = [word for word in ("raw_exec", "kill_timeout", "parameterized", "--state-dir") if word not in words]
    return f"{name}: no {missing}" if missing else ""


def shell(text: str, name: str) -> str:
    """Returns what bash says to a script without running it."""
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, timeout=60)
    return done.stderr


KUBERNETES = validated("kubernetes-validate", "--strict", "--quiet", "--kubernetes-version", "1.33")
ACTION = validated("check-jsonschema", "--builtin-schema", "vendor.github-actions")

# Each file, its check, and a mistake: what to replace, and by what.
FILES: list[tuple[str, Callable[[str, str], str], str, str]] = [
    ("systemd/bottle@.service", systemd, "RemainAfterExit", "RemainAfterExits"),
    ("systemd/bottle-run@.service", systemd, "KillMode=mixed", "KillMode=some"),
    ("kubernetes/node.yaml", KUBERNETES, "initContainers", "initialContainers"),
    ("kubernetes/job.yaml", KUBERNETES, "completions: 20", "completions: many"),
    ("nomad/bottle.nomad.hcl", nomad, 'job "bottle" {', 'job "bottle" {{'),
    ("github/action.yml", ACTION, "using: composite", "using: compost"),
    ("../examples/slurm/eval.sbatch", shell, "exec bottle", "if exec bottle"),
    ("../examples/slurm/behind-bash.sbatch", shell, "status=$?", "status=$("),
]


def scripts(text: str) -> str:
    """Returns what bash says to the scripts of an action."""
    found = re.findall(r"run: \|\n((?:        .*\n)+)", text)
    return "".join(shell(script, "") for script in found) if found else "no scripts"


def main() -> int:
    wrong = 0
    for name, check, before, after in FILES:
        if check is systemd and shutil.which("systemd-analyze") is None:
            print(f"schedulers: {name}: skipped, there is no systemd-analyze")
            continue
        text = (HERE / name).read_text()
        said = check(text, Path(name).name)
        assert before in text, f"{name}: no {before!r}"
        witness = check(text.replace(before, after, 1), Path(name).name)
        if said or not witness:
            print(f"schedulers: {name}: {said or 'a mistake in it is not found'}")
            wrong += 1
        else:
            print(f"schedulers: {name}: valid")
    said = scripts((HERE / "github/action.yml").read_text())
    if said:
        print(f"schedulers: the scripts of github/action.yml: {said}")
        wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
