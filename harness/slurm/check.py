#!/usr/bin/env python3
"""Runs bottles as jobs of a real Slurm cluster, and looks at what is left of them.

`cluster.sh check.py` does it with one way in which Slurm finds a job's processes (TRACKER). The scripts are those of
examples/slurm. The guests are stand-ins: what is tested is what a scheduler does to bottle, not what a guest does. With
GUEST=real two of them are virtual machines, on a machine that boots them (`bottle-harness bootable -- cluster.sh check.py`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TRACKER = os.environ.get("TRACKER", "linuxproc")
REAL = os.environ.get("GUEST") == "real"
KILL_WAIT = int(os.environ.get("KILL_WAIT", "15"))
# A run's processes may need this long after their job, and longer where all of them are emulated.
SOON = 30.0 if REAL else 5.0
# How much longer everything takes in the outer machine.
SLOW = 5 if "BOTTLE_OUTER" in os.environ else 1
# The harness tries such a run again.
INCONCLUSIVE = 75


def say(text: str) -> None:
    print(f"slurm, {TRACKER}: {text}", flush=True)


class Cluster:
    """A project, a node's folder, and the jobs that use them."""

    def __init__(self, folder: Path) -> None:
        self.project = folder / "project"
        self.node = folder / "node"
        self.results = self.project / "results"
        # What guests wait for that have this folder.
        self.go = folder / "go" / "now"
        programs = folder / "bin"
        for path in (self.project, programs, self.go.parent):
            path.mkdir()
        shutil.copy(ROOT / "examples/slurm/bottle.toml", self.project)
        (self.project / "file").write_text("1\n")
        build = Path(os.environ.get("BUILD", ROOT / "target/debug"))
        (programs / "bottle").symlink_to(build / "bottle")
        if REAL:
            # Two guests that boot at once under emulation take each other's time, and more of them start with little memory.
            os.environ.update(SMOLVM_AGENT_READY_TIMEOUT_SECS="200", SMOLVM_START_TIMEOUT_SECS="200")
            os.environ.setdefault("SMOLVM_AGENT_ROOTFS", str(ROOT / "tools/smolvm/agent-rootfs"))
            config = self.project / "bottle.toml"
            more = f'memory = 512\nvolumes = [{{ host = "{self.go.parent}", guest = "/go" }}]'
            config.write_text(config.read_text().replace("memory = 1024", more))
        else:
            (programs / "smolvm").symlink_to(build / "smolvm-stand-in")
        os.environ["PATH"] = f"{programs}:{ROOT / 'tools/bin'}:{os.environ['PATH']}"
        os.environ["BOTTLE_GUEST_HELPER"] = str(ROOT / "target/guest/bottle-guest")
        os.environ["BOTTLE_NODE_DIR"] = str(self.node)

    def submit(self, script: str, command: str, *options: str) -> str:
        words = ["sbatch", "--parsable", *options, str(ROOT / "examples/slurm" / script), "sh", "-c", command]
        return run(*words, cwd=self.project)

    def result(self, name: str) -> dict[str, Any]:
        return dict(json.loads((self.results / name / "result.json").read_text()))

    def output(self, name: str) -> str:
        return (self.results / name / "stdout").read_text()

    def left(self) -> list[str]:
        """Returns everything of this test's bottles that is on the node, but for records and caches.

        A namespace without a process and without a mount is gone.
        """
        found = [f"process {line}" for line in processes(self.node)]
        for place in ("state", "run", "run/.copies", "smolvm"):
            folder = self.node / place
            names = folder.iterdir() if folder.is_dir() else []
            found += [str(path) for path in names if not path.name.startswith(".")]
        found += [f"machine {name}" for name in self.machines()]
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        found += [f"mount {line}" for line in mounts if str(self.node) in line]
        return found

    def machines(self) -> list[str]:
        """Returns the machines: those that smolvm lists, and the calls of it that run one."""
        listed = []
        if REAL:
            said = run("smolvm", "--state-dir", str(self.node / "smolvm"), "machine", "ls", "--json")
            listed = [machine["name"] for machine in json.loads(said)]
        return listed + [line for line in processes(self.node) if " machine run " in line]

    def nothing_is_left(self, after: str) -> None:
        eventually(f"nothing is left after {after}", lambda: not self.left(), SOON, self.left)

    def bottles(self) -> list[str]:
        folder = self.node / "state"
        return [path.name for path in folder.iterdir() if path.name[0] != "."] if folder.is_dir() else []


def run(*words: str, cwd: Path | None = None) -> str:
    done = subprocess.run(words, cwd=cwd, stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    return done.stdout.strip()


def processes(folder: Path) -> list[str]:
    """Returns the processes whose command line, environment or mounts name a folder, except Slurm's own and ours.

    A process in a namespace of a guest's or a jail's has the folder among its mounts, whatever else it has.
    """
    found = []
    for place in Path("/proc").iterdir():
        if not place.name.isdigit() or int(place.name) == os.getpid():
            continue
        try:
            line = (place / "cmdline").read_bytes()
            known = line + (place / "environ").read_bytes() + (place / "mountinfo").read_bytes()
        except OSError:
            continue
        # Slurm's own have the environment of the job, too, for a moment after it.
        program = line.split(b"\0")[0].rsplit(b"/", 1)[-1]
        if str(folder).encode() in known and not program.startswith((b"slurm", b"scancel", b"squeue", b"scontrol")):
            found.append(f"{place.name} {line.replace(bytes(1), b' ').decode(errors='replace')}")
    return found


def eventually(
    what: str, test: Callable[[], bool], within: float, seen: Callable[[], object] = lambda: ""
) -> None:
    within *= SLOW
    end = time.monotonic() + within
    while not test():
        if time.monotonic() > end:
            raise AssertionError(f"not within {within:.0f} s: {what}: {seen()}")
        time.sleep(0.1)


def job(number: str) -> dict[str, str]:
    """Returns what Slurm says of a job."""
    return dict(re.findall(r"(\w+)=(\S*)", run("scontrol", "--oneliner", "show", "job", number)))


def states(number: str) -> list[str]:
    said = run("squeue", "--noheader", "--states=all", "--array", "--jobs", number, "--format=%T")
    return sorted(said.split())


def has_ended(number: str) -> bool:
    return not set(states(number)) & {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING"}


SLEEP = "echo changed >> file; echo up; exec sleep 4711"


def sleeping(cluster: Cluster, script: str, *options: str) -> tuple[str, str]:
    """Starts a job whose guest sleeps, and returns its number and the name of its results."""
    number = cluster.submit(script, SLEEP, "--array=1", *options) if script == "eval.sbatch" else cluster.submit(
        script, SLEEP, *options
    )
    name = f"{number}_1.0" if script == "eval.sbatch" else f"{number}.0"
    awake = cluster.results / name / "stdout"
    eventually(f"{number} sleeps", lambda: awake.exists() and awake.read_text() == "up\n", 60, lambda: states(number))
    return number, name


def killed_or_told(cluster: Cluster, name: str, *reasons: str) -> None:
    """Checks the results of a job that Slurm ended."""
    result = cluster.result(name)
    assert result["state"] == "ended" and result["reason"] in reasons, result
    assert (cluster.results / name / "files/file").read_text() == "1\nchanged\n", result
    assert "+changed" in (cluster.results / name / "changes.patch").read_text()
    assert (cluster.results / name / "audit.jsonl").stat().st_size > 0


def an_array(cluster: Cluster) -> None:
    command = "echo task; echo made > made"
    number = cluster.submit("eval.sbatch", command, "--array=1-20")
    eventually("the array ends", lambda: has_ended(number), 240, lambda: states(number))
    assert states(number) == ["COMPLETED"] * 20, states(number)
    names = {cluster.result(f"{number}_{task}.0")["bottle"] for task in range(1, 21)}
    assert len(names) == 20, names
    for task in range(1, 21):
        name = f"{number}_{task}.0"
        assert cluster.result(name)["status"] == 0 and cluster.output(name) == "task\n", name
        assert (cluster.results / name / "files/made").exists(), name
    assert (cluster.project / "file").read_text() == "1\n"
    cluster.nothing_is_left("an array of 20")
    say("an array of 20 bottles: each has its own results, and nothing is left")


def one_that_fails(cluster: Cluster) -> None:
    number = cluster.submit("eval.sbatch", "exit 3", "--array=1")
    eventually("it ends", lambda: has_ended(number), 60, lambda: states(number))
    assert states(number) == ["FAILED"] and job(number)["ExitCode"] == "3:0", job(number)
    result = cluster.result(f"{number}_1.0")
    assert (result["reason"], result["status"]) == ("exited", 3), result
    cluster.nothing_is_left("one that failed")
    say("a command that fails: Slurm has its status")


def one_cancelled(cluster: Cluster) -> None:
    number, name = sleeping(cluster, "eval.sbatch")
    since = time.monotonic()
    run("scancel", number)
    eventually("it ends", lambda: has_ended(number), KILL_WAIT + 10)
    assert time.monotonic() - since < SLOW * (10 + SOON), time.monotonic() - since
    assert states(number) == ["CANCELLED"], states(number)
    killed_or_told(cluster, name, "terminated")
    cluster.nothing_is_left("one that was cancelled")
    say("one cancelled: the results are complete in time")


def one_cancelled_behind_bash(cluster: Cluster) -> None:
    number, name = sleeping(cluster, "behind-bash.sbatch")
    run("scancel", number)
    eventually("it ends", lambda: has_ended(number), KILL_WAIT + 10)
    eventually("its processes end", lambda: not processes(cluster.node), 10 + SOON, lambda: processes(cluster.node))
    if TRACKER == "cgroup":
        # All of it was killed at once, without a word.
        assert cluster.result(name)["state"] == "running", cluster.result(name)
        assert len(cluster.bottles()) == 1, cluster.bottles()
        one_that_fails(cluster)
    killed_or_told(cluster, name, "terminated", "killed")
    cluster.nothing_is_left("one that was cancelled behind bash")
    say(f"one cancelled behind bash: its results say {cluster.result(name)['reason']}")


def one_requeued(cluster: Cluster) -> None:
    number, name = sleeping(cluster, "eval.sbatch", "--requeue")
    run("scontrol", "requeue", number)
    eventually("it waits again", lambda: states(number) == ["PENDING"], KILL_WAIT + 15, lambda: states(number))
    killed_or_told(cluster, name, "terminated")
    run("scontrol", "update", f"JobId={job(number)['JobId']}", "StartTime=now")
    again = name.removesuffix("0") + "1"
    eventually("it starts again", lambda: (cluster.results / again / "stdout").exists(), 60, lambda: states(number))
    run("scancel", number)
    eventually("it ends", lambda: has_ended(number), KILL_WAIT + 10)
    killed_or_told(cluster, name, "terminated")
    assert cluster.result(again)["reason"] == "terminated", cluster.result(again)
    assert cluster.result(again)["bottle"] != cluster.result(name)["bottle"]
    cluster.nothing_is_left("one that was requeued")
    say("one requeued: each start has its own results")


def a_node_drained(cluster: Cluster) -> None:
    node = run("sinfo", "--noheader", "--format=%n")
    number, name = sleeping(cluster, "eval.sbatch")
    run("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=test")
    try:
        waits = cluster.submit("eval.sbatch", "true", "--array=1")
        time.sleep(3)
        assert states(number) == ["RUNNING"] and states(waits) == ["PENDING"], (states(number), states(waits))
    finally:
        run("scontrol", "update", f"NodeName={node}", "State=RESUME")
    run("scancel", number)
    eventually("both end", lambda: has_ended(number) and has_ended(waits), 90, lambda: states(waits))
    killed_or_told(cluster, name, "terminated")
    assert cluster.result(f"{waits}_1.0")["status"] == 0
    cluster.nothing_is_left("a node that was drained")
    say("a node drained: what runs goes on, and the next waits")


def over_their_time(cluster: Cluster) -> None:
    """Slurm looks at time limits twice a minute, so both wait for that together."""
    jobs = {script: sleeping(cluster, script, "--time=1") for script in ("eval.sbatch", "behind-bash.sbatch")}
    for number, _ in jobs.values():
        eventually("its time is over", lambda: has_ended(number), 150 + KILL_WAIT, lambda: states(number))
        assert states(number) == ["TIMEOUT"], states(number)
    eventually("its processes end", lambda: not processes(cluster.node), 10 + SOON, lambda: processes(cluster.node))
    if TRACKER == "cgroup":
        one_that_fails(cluster)
    killed_or_told(cluster, jobs["eval.sbatch"][1], "terminated")
    killed_or_told(cluster, jobs["behind-bash.sbatch"][1], "terminated", "killed")
    cluster.nothing_is_left("two that were over their time")
    say("two over their time, one of them behind bash")


def two_real(cluster: Cluster) -> None:
    """Two virtual machines at once. One is cancelled, and the other goes on and ends by itself."""
    command = "echo changed >> file; uname -r; while [ ! -e /go/now ]; do sleep 1; done; echo went"
    number = cluster.submit("eval.sbatch", command, "--array=1-2")
    names = [f"{number}_{task}.0" for task in (1, 2)]

    def are_up() -> bool:
        return all((cluster.results / name / "stdout").is_file() and cluster.output(name) for name in names)

    def ended() -> list[object]:
        kept = [cluster.result(name) for name in names if (cluster.results / name / "result.json").is_file()]
        return [result["error"] for result in kept if result["state"] == "ended"]

    eventually("both are up", lambda: are_up() or bool(ended()), 300, lambda: states(number))
    if not are_up():
        # Under emulation smolvm's machines sometimes fail to start, which says nothing about bottle.
        raise Inconclusive(str(ended()))
    before = cluster.machines()
    assert len(before) >= 2, before
    run("scancel", f"{number}_1")
    beside = ["CANCELLED", "RUNNING"]
    eventually("one ends", lambda: states(number) == beside, KILL_WAIT + 10, lambda: states(number))
    killed_or_told(cluster, names[0], "terminated")
    eventually("its machine is gone", lambda: len(cluster.machines()) == len(before) // 2, SOON, cluster.machines)
    cluster.go.touch()
    eventually("the other ends", lambda: has_ended(number), 60, lambda: states(number))
    assert states(number) == ["CANCELLED", "COMPLETED"], states(number)
    result = cluster.result(names[1])
    assert (result["reason"], result["status"]) == ("exited", 0), result
    for name, last in zip(names, ("", "went\n"), strict=True):
        kernel, rest = cluster.output(name).split("\n", 1)
        assert rest == last and kernel != os.uname().release, cluster.output(name)
    cluster.nothing_is_left("two real guests")
    say(f"two real guests, kernel {kernel}: one cancelled, the other ended by itself, and nothing is left")


class Inconclusive(Exception):
    """Something that shows nothing either way."""


def main() -> int:
    since = time.monotonic()
    checks = [two_real] if REAL else [
        an_array,
        one_that_fails,
        one_cancelled,
        one_cancelled_behind_bash,
        one_requeued,
        a_node_drained,
        over_their_time,
    ]
    wanted = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="bottle-slurm-") as folder:
        os.chmod(folder, 0o755)
        cluster = Cluster(Path(folder))
        for check in checks:
            if not wanted or check.__name__ in wanted:
                try:
                    check(cluster)
                except Inconclusive as why:
                    say(f"inconclusive: {why}")
                    return INCONCLUSIVE
    say(f"done in {time.monotonic() - since:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
