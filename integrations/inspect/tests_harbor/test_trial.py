"""Trials of Harbor's with its oracle, each in a bottle with a stand-in guest."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bottle_sandbox import command
from bottle_sandbox.harbor import PREFIX

TASK = """\
schema_version = "1.4"
[verifier]
timeout_sec = 120.0
[agent]
timeout_sec = 120.0
[environment]
network_mode = "{network}"
"""


def task(folder: Path, network: str, answer: str) -> Path:
    """Makes a task whose solution writes an answer, and whose test wants 42."""
    place = folder / "task"
    files = {
        "task.toml": TASK.format(network=network),
        "instruction.md": "Write 42 to /app/answer.\n",
        "environment/data/given": "42\n",
        "solution/solve.sh": f"#!/bin/sh\nset -e\necho {answer} > /app/answer\nmkdir -p /logs/agent\n",
        "tests/test.sh": '#!/bin/sh\n[ "$(cat /app/answer)" = 42 ]; echo $((1 - $?)) > /logs/verifier/reward.txt\n',
    }
    for name, text in files.items():
        file = place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755 if name.endswith(".sh") else 0o644)
    return place


def trial(place: Path, *more: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("harbor")
    words = [str(program), "trial", "start", "-p", str(place), "-a", "oracle", "--trials-dir", str(place.parent / "trials")]
    words += ["-e", "bottle_sandbox.harbor:BottleEnvironment", "--environment-kwarg", "bare=true", *more]
    return subprocess.run(words, capture_output=True, text=True, timeout=300, env={**os.environ, "COLUMNS": "200"})


@pytest.mark.parametrize(("answer", "reward"), [("42", 1.0), ("41", 0.0)])
async def test_a_trial_gets_the_reward_that_its_solution_earns(tmp_path: Path, answer: str, reward: float) -> None:
    done = await asyncio.to_thread(trial, task(tmp_path, "no-network", answer))
    assert done.returncode == 0, done
    assert f"'reward': {reward}" in done.stdout, done.stdout
    (result,) = (tmp_path / "trials").glob("*/result.json")
    assert json.loads(result.read_text())["exception_info"] is None
    assert await command.named(PREFIX) == []


async def test_a_trial_that_is_kept_leaves_a_stopped_machine(tmp_path: Path) -> None:
    done = await asyncio.to_thread(trial, task(tmp_path, "no-network", "42"), "--no-delete")
    assert done.returncode == 0, done
    listed = await command.call(["ls", "--all", "--json"])
    (row,) = json.loads(listed.stdout)["data"]
    assert row["slug"].startswith(f"{PREFIX}-") and row["state"] == "stopped", row
    await command.remove(row["slug"])


async def test_a_public_network_is_refused(tmp_path: Path) -> None:
    done = await asyncio.to_thread(trial, task(tmp_path, "public", "42"))
    said = " ".join((done.stdout + done.stderr).split())
    assert "a bottle has no public network" in said, said
    assert "'reward': 1.0" not in said
    assert await command.named(PREFIX) == []
