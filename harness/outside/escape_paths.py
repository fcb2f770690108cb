#!/usr/bin/env python3
"""cepheus-engine (PyPI) against a bottle: which paths out of a container it finds in a guest, and what each is worth there.

Its shell script looks around in the guest, its engine matches that with the techniques that it knows, and its verifiers try in
the guest what they can. What it then confirms must be among `EXPECTED`, with a reason why it does not lead out of a machine.
The same is done with a container that shares this machine's processes and files, where it has to confirm something.
GUEST=real takes a real guest, on a machine that boots them.

`escape_paths.py container` does only the second half, and `escape_paths.py guest` the first: nothing is shown by a container in the
outer machine, where it would take minutes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from cepheus.config import CepheusConfig
from cepheus.engine.analyzer import analyze
from cepheus.engine.technique_db import get_all_techniques
from cepheus.engine.verifier import VerificationReport, VerifyOutcome, verify_analysis
from cepheus.models.posture import ContainerPosture
from node import DID_NOT_START, GUEST, REAL, SMALL, Node

ENUMERATOR = Path(sys.modules["cepheus"].__file__ or "").parent / "enumerator/cepheus-enum.sh"

# What it confirms in a guest, and why that is no way out. Root in a guest is the adversary that bottle is built for: it has every
# capability over a kernel that is the machine's own.
OWN_KERNEL = "is about the guest's own kernel, to which root may do everything anyway"
EXPECTED = {
    "cap_sys_admin_mount": f"{OWN_KERNEL}; no device and no other file system of this machine is there to mount",
    "cap_sys_admin_no_seccomp": OWN_KERNEL,
    "cap_sys_module": OWN_KERNEL,
    "procfs_core_pattern": f"{OWN_KERNEL}: it runs the program in the guest",
    "cap_dac_read_search": "the files are the guest's; a folder that is shared with it gives handles below itself only",
    "cap_sys_boot": "it restarts the guest, which ends",
    "proc_fd_symlink_traversal": "the descriptors are those of the guest's own processes",
    "cap_net_admin": "the routes and interfaces are the guest's; the keeper judges every frame, whatever they are",
    "cap_perfmon": OWN_KERNEL,
    "cap_syslog": OWN_KERNEL,
    # Only a real guest has a kernel, disks and system files of its own.
    "cap_dac_override": "the files are the guest's, and a folder that is shared with it is there to be written",
    "cap_sys_rawio": f"{OWN_KERNEL}; its disks are its own: breakouts.py looks for this machine's files on each",
    "devfs_access": f"{OWN_KERNEL}; its disks are its own: breakouts.py looks for this machine's files on each",
    "lsm_selinux_unconfined": "nothing in the guest confines its root, and nothing has to",
    "sysfs_hugepages": OWN_KERNEL,
    "sysfs_uevent_helper": f"{OWN_KERNEL}: it runs the program in the guest",
    "tmpfs_shm_cross_container": "the guest's memory is its own, and there is no other container in it",
    "vm_param_manipulation": f"{OWN_KERNEL}: what it can ruin is the guest",
    "writable_proc_privileged": f"{OWN_KERNEL}: it runs the program in the guest",
}

# A runtime as cepheus calls one: `exec [-i] -- NAME COMMAND...`.
RUNTIME = """#!/bin/sh
shift
[ "$1" != -i ] || shift
shift 2
exec {words} "$@"
"""
# A container with every capability, and this machine's files, devices and processes.
CONTAINER = "bwrap --die-with-parent --ro-bind / / --dev-bind /dev /dev --proc /proc --tmpfs /tmp --cap-add ALL --"


def say(text: str) -> None:
    print(f"escape-paths: {text}", flush=True)


def examine(runtime: Path) -> tuple[int, VerificationReport]:
    """Returns how many techniques match what is seen through a runtime, and what came of trying them."""
    words = [str(runtime), "exec", "-i", "--", "t", "sh"]
    seen = subprocess.run(words, input=ENUMERATOR.read_bytes(), capture_output=True, timeout=600)
    if seen.returncode != 0:
        raise RuntimeError(seen.stderr.decode(errors="replace"))
    result = analyze(ContainerPosture(**json.loads(seen.stdout)), CepheusConfig())
    report = verify_analysis(result, "t", runtime=str(runtime), timeout=60 if REAL else 20, parallel=1 if REAL else 4)
    return len({step.technique.id for chain in result.chains for step in chain.steps if step.technique}), report


def runtime(folder: Path, name: str, words: str) -> Path:
    path = folder / name
    path.write_text(RUNTIME.format(words=words))
    path.chmod(0o755)
    return path


def witness() -> bool:
    with tempfile.TemporaryDirectory(prefix="bottle-outside-") as folder:
        known, report = examine(runtime(Path(folder), "container", CONTAINER))
    say(f"a container that shares this machine: {known} match, {report.confirmed_count} confirmed")
    return report.confirmed_count > 0


def main() -> int:
    halves = sys.argv[1:] or ["container", "guest"]
    if "container" in halves and not witness():
        return 1
    if "guest" not in halves:
        return 0
    with Node("t", f'{SMALL}[workspace]\nmode = "copy"\n') as node:
        up = node.call("up")
        if up.returncode != 0:
            say(f"the guest did not start: {up.stderr}")
            return DID_NOT_START if up.returncode == DID_NOT_START else 1
        return judge(node.folder, " ".join(node.bottle))


def judge(folder: Path, bottle: str) -> int:
    matched, report = examine(runtime(folder, "guest", f"{bottle} exec t --"))
    outcomes = {outcome: [row for row in report.results if row.outcome == outcome] for outcome in VerifyOutcome}
    for row in outcomes[VerifyOutcome.CONFIRMED]:
        say(f"confirmed, {row.severity}: {row.technique_id}: {EXPECTED.get(row.technique_id, 'UNEXPECTED')}")
    for row in outcomes[VerifyOutcome.ERROR]:
        say(f"could not be tried: {row.technique_id}: {row.stderr}")
    for name in (VerifyOutcome.NOT_CONFIRMED, VerifyOutcome.NO_VERIFIER):
        say(f"{name.value.lower()}: {', '.join(row.technique_id for row in outcomes[name]) or 'none'}")
    unexpected = [row.technique_id for row in outcomes[VerifyOutcome.CONFIRMED] if row.technique_id not in EXPECTED]
    counts = ", ".join(f"{len(rows)} {outcome.value.lower()}" for outcome, rows in outcomes.items())
    say(f"{len(get_all_techniques())} techniques known, {matched} match {GUEST}: {counts}; {len(unexpected)} unexpected")
    return 0 if not unexpected and not outcomes[VerifyOutcome.ERROR] else 1


if __name__ == "__main__":
    sys.exit(main())
