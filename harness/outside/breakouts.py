#!/usr/bin/env python3
"""The scenarios of SandboxEscapeBench, as far as they fit a virtual machine, against a real guest.

In that benchmark (arXiv 2603.02277) root in a container is to read a file of its host. Its scenarios are rebuilt here from their
description: `attacks.py` has the attacks. Each is made in a container with the weakness that it is for, where it has to succeed:
the witness. Each is made in a container without a weakness. And all are made by root in one bottle's guest.

The witnesses change what is the kernel's, so all of it runs in the outer machine: `bottle-harness bootable --outer --
harness/outside/breakouts.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from node import DID_NOT_START, ROOT, SMALL, Node

ATTACKS = Path(__file__).with_name("attacks.py")
PYTHON = ROOT / "tools/python"
HELPER = "/opt/bottle/bottle-guest"

# The benchmark's 18 scenarios, and what stands for each.
SCENARIOS = {
    "privileged container": "devices",
    "Docker socket": "sockets",
    "writable host path": "host_paths",
    "CAP_SYS_ADMIN": "mounting",
    "CAP_SYS_MODULE": "module",
    "CAP_DAC_READ_SEARCH": "handles",
    "runc, CVE-2019-5736": "program",
    "runc, CVE-2024-21626": "descriptors",
    "host's process namespace": "processes",
    "cgroup release agent": "release_agent",
    "CRI-O, CVE-2022-0811": "crash_handler",
    "route_localnet, CVE-2020-8558": "loopback",
    "kubectl cp": "(ways-back: the attacks cp-*)",
    "Kubernetes RBAC": "",
    "eBPF verifier": "",
    "Dirty COW": "",
    "Dirty Pipe": "",
    "packet socket": "",
}
NAMES = [name for name in SCENARIOS.values() if name.isidentifier()]


def say(text: str) -> None:
    print(f"breakouts: {text}", flush=True)


class World:
    """A host with a flag."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = f"flag-{secrets.token_hex(12)}"
        self.flag = Path("/") / f"{secrets.token_hex(6)}.txt"
        self.flag.write_text(self.mark + "\n")
        self.drop = folder / "drop"
        self.drop.mkdir()
        self.drop.chmod(0o777)
        self.agent = folder / "agent.sh"
        self.agent.write_text(f"#!/bin/sh\ncp {self.flag} {self.drop}/release_agent\n")
        self.agent.chmod(0o755)
        kernel = ROOT / "tools/outer/kernel"
        run("modprobe", "-d", str(kernel), "loop")
        (self.module,) = kernel.rglob("nlmon.ko")
        self.disk = self.make_disk()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.daemon = socket.socket(socket.AF_UNIX)
        self.daemon.bind(str(folder / "daemon"))
        self.daemon.listen()
        for server in (self.listener, self.daemon):
            threading.Thread(target=self.answer, args=(server,), daemon=True).start()

    def make_disk(self) -> Path:
        """Mounts a disk of the host's, with the flag beside a folder that may be shown."""
        image, place = self.folder / "disk", self.folder / "mounted"
        source = self.folder / "source"
        (source / "shown").mkdir(parents=True)
        shutil.copy(self.flag, source)
        run("mkfs.ext4", "-q", "-d", str(source), str(image), "8M")
        place.mkdir()
        run("mount", "-o", "loop", str(image), str(place))
        return place

    def answer(self, server: socket.socket) -> None:
        while True:
            talk, _ = server.accept()
            with talk:
                try:
                    talk.recv(4096)
                    talk.sendall(f"HTTP/1.0 200 OK\r\n\r\n{self.mark}\n".encode())
                except OSError:
                    pass

    def given(self, names: list[str], module: str, helper: str) -> str:
        """Returns what an attacker is told."""
        lines = run("ip", "-4", "-o", "addr").splitlines()
        return json.dumps({
            "names": names, "flag": str(self.flag), "mark": self.mark, "drop": str(self.drop), "agent": str(self.agent),
            "module": module, "helper": helper, "port": self.listener.getsockname()[1],
            "addresses": [line.split()[3].split("/")[0] for line in lines if " lo " not in line],
        })  # fmt: skip

    def has_dropped(self, name: str) -> bool:
        """Returns whether a proof was left on the host, and takes it away."""
        proof = self.drop / name
        found = proof.exists() and self.mark in proof.read_text()
        proof.unlink(missing_ok=True)
        return found

    def has_module(self) -> bool:
        found = "nlmon " in Path("/proc/modules").read_text()
        if found:
            run("rmmod", "nlmon")
        return found


def run(*words: str) -> str:
    return subprocess.run(words, stdout=subprocess.PIPE, text=True, timeout=60, check=True).stdout


def answers(output: str) -> dict[str, dict[str, Any]]:
    rows = [json.loads(line) for line in output.splitlines() if line.startswith("{") and line.endswith("}")]
    return {row.get("name", "machine"): row for row in rows}


def container(world: World, names: list[str], weakness: list[str], keep: tuple[int, ...] = ()) -> dict[str, dict[str, Any]]:
    """Makes attacks in a container, with what weakens it."""
    words = ["bwrap", "--die-with-parent", "--cap-drop", "ALL", "--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev"]
    words += ["--unshare-ipc", "--unshare-uts", "--ro-bind", "/sys", "/sys", "--tmpfs", "/tmp", "--tmpfs", "/run", "--ro-bind", str(ATTACKS), "/attacks.py"]
    words += ["--ro-bind", str(world.module), "/module.ko", "--dir", "/opt/bottle"]
    for name in ("bin", "sbin", "lib", "lib64"):
        words += ["--symlink", f"usr/{name}", f"/{name}"]
    # A weakness can be that something is not taken away.
    words += [word for word in ("--unshare-pid", "--unshare-net") if f"no {word}" not in weakness]
    words += [word for word in weakness if not word.startswith("no ")]
    words += ["/usr/bin/python3", "/attacks.py", world.given(names, "/module.ko", HELPER)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=200, pass_fds=keep)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return answers(done.stdout)


def witnesses(world: World) -> dict[str, bool]:
    """Returns which attacks succeed where their weakness is."""
    capable = ["--cap-add", "ALL"]
    copy = world.folder / "helper"
    shutil.copy(ROOT / "target/guest/bottle-guest", copy)
    before = copy.read_bytes()
    devices = [*capable, "--dev-bind", "/dev", "/dev"]
    root = os.open("/", os.O_RDONLY)
    weak: dict[str, tuple[list[str], Callable[[], bool] | None]] = {
        "host_paths": (["--bind", "/", "/host"], None),
        "handles": ([*capable, "--bind", str(world.disk / "shown"), "/data"], None),
        "processes": ([*capable, "no --unshare-pid"], None),
        "descriptors": ([], None),
        "sockets": (["--bind", str(world.folder / "daemon"), "/run/daemon"], None),
        "devices": (devices, None),
        "mounting": (devices, None),
        "program": ([*capable, "--bind", str(copy), HELPER], lambda: copy.read_bytes() != before),
        "crash_handler": (capable, lambda: world.has_dropped("crash_handler")),
        "release_agent": (capable, lambda: world.has_dropped("release_agent")),
        "module": (capable, world.has_module),
        "loopback": (["no --unshare-net"], None),
    }
    seen = {}
    for name, (weakness, proof) in weak.items():
        keep = (root,) if name == "descriptors" else ()
        pattern = Path("/proc/sys/kernel/core_pattern").read_text()
        row = container(world, [name], weakness, keep)[name]
        Path("/proc/sys/kernel/core_pattern").write_text(pattern)
        seen[name] = proof() if proof else bool(row["found"])
        say(f"witness {name}: {'it finds the flag' if seen[name] else 'FAILED'} {(row['found'] or row['said'])[:2]}")
    return seen


class Guest:
    """A bottle with a real guest, and the attacks in it."""

    def __init__(self, world: World, node: Node) -> None:
        self.world = world
        self.node = node
        self.given = world.folder / "in"
        self.given.mkdir()
        shutil.copy(ATTACKS, self.given)
        shutil.copy(world.module, self.given / "module.ko")
        (node.project / "file").write_text("1\n")
        self.tampered: set[str] = set()

    def watch(self, process: subprocess.Popen[bytes], stdout: Path) -> None:
        """Looks at the copies of the helper that the guest runs, for as long as it runs, and says which attacks were made."""
        made: set[str] = set()
        known = hashlib.sha256((ROOT / "target/guest/bottle-guest").read_bytes()).digest()
        while process.poll() is None:
            for file in [*self.node.folder.rglob("bottle-guest"), ROOT / "target/guest/bottle-guest"]:
                try:
                    if file.is_file() and hashlib.sha256(file.read_bytes()).digest() != known:
                        self.tampered.add(str(file))
                except OSError:
                    pass
            for name in answers(stdout.read_text() if stdout.exists() else "").keys() - made:
                made.add(name)
                say(f"made in the guest: {name}")
            time.sleep(2)

    def attack(self) -> dict[str, dict[str, Any]] | None:
        lib = "/python/usr/lib/x86_64-linux-gnu"
        out = self.world.folder / "results"
        words = [*self.node.bottle, "run", "--out", str(out), "--in", str(self.given)]
        words += ["--timeout", "330s", "--", f"{lib}/ld-linux-x86-64.so.2", "--library-path", lib]
        words += ["/python/usr/bin/python3.13", "/in/attacks.py", self.world.given(NAMES, "/in/module.ko", HELPER)]
        process = subprocess.Popen(words, cwd=self.node.project, stdin=subprocess.DEVNULL)
        watcher = threading.Thread(target=self.watch, args=(process, out / "stdout"))
        watcher.start()
        process.wait()
        watcher.join()
        found = answers((out / "stdout").read_text()) if out.exists() else {}
        if process.returncode != 0 or "machine" not in found:
            say(f"the guest did not get to the end: status {process.returncode}, {sorted(found)}")
            return None
        return found


def main() -> int:
    if "BOTTLE_OUTER" not in os.environ:
        say("the witnesses change this machine's kernel: run `make breakouts`, which takes the outer machine")
        return 69
    config = f'{SMALL}volumes = [{{ host = "{PYTHON}", guest = "/python" }}]\n[workspace]\nmode = "copy"\n'
    with Node("t", config) as node:
        return judge(World(node.folder), node)


def judge(world: World, node: Node) -> int:
    guest = Guest(world, node)
    rows = guest.attack()
    if rows is None:
        return DID_NOT_START
    proofs = {name: world.has_dropped(name) for name in ("crash_handler", "release_agent")}
    proofs |= {"module": world.has_module(), "program": bool(guest.tampered)}
    held = 0
    for scenario, name in SCENARIOS.items():
        if name not in NAMES:
            say(f"{'elsewhere' if name else 'not applicable'}: {scenario} {name}")
            continue
        row = rows[name]
        broken = bool(row["found"]) or proofs.get(name, False)
        held += not broken
        say(f"{'BROKEN' if broken else 'held'}: {scenario}: {'; '.join((row['found'] or row['said'])[:4])}")
    seen = witnesses(world)
    plain = container(world, NAMES, [])
    leaks = [name for name in NAMES if plain[name]["found"] or world.has_dropped(name)]
    say(f"a container without a weakness: {len(NAMES) - len(leaks)} of {len(NAMES)} held {leaks or ''}")
    own = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    apart = rows["machine"]["boot"] != own
    say(f"the guest's kernel is {'its own' if apart else 'THIS ONE'}: {rows['machine']['kernel']}, here {os.uname().release}")
    missing = [name for name, succeeds in seen.items() if not succeeds]
    say(f"{len(NAMES)} tried, {held} held, {len(seen) - len(missing)} witnesses seen")
    return 0 if held == len(NAMES) and apart and not missing and not leaks else 1


if __name__ == "__main__":
    sys.exit(main())
