#!/usr/bin/env python3
"""What smolvm's own tests state about the network of its machines, said again about a guest in a bottle.

smolvm's suite drives smolvm's options and the public internet, and bottle has neither. So its statements were read one by one
(`tests/test_network.sh`, `test_virtio_net.sh` and `test_ports.sh` of smolvm 1.9.2), and each that means something in a bottle is
made here, in our words, of a guest whose rules allow one host. `NOT_APPLICABLE` has the others, each with the reason.
The same is asked in a network without bottle, in which everything is reached: there, what a guest is refused has to succeed.
GUEST=real takes a real guest, on a machine that boots them.
"""

from __future__ import annotations

import http.server
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable

from node import DID_NOT_START, GUEST, SMALL, Node

# An address that is nobody's, and a host that no rule allows.
ELSEWHERE, OTHER, ALLOWED = "192.0.2.1", "other.test", "page.test"
PAGE = "the page that is allowed\n"

NOT_APPLICABLE = {
    "allow-cidr permits matching traffic": "the egress proxy knows names, and dials no address that a guest names",
    "invalid hostname rejected at create": "a name is resolved when it is dialled, and not before",
    "host:port syntax rejected": "bottle's rules have ports",
    "TCP/53 allowed domain returns NOERROR": "the guard answers questions over UDP, and TCP port 53 is refused",
    "allow_hosts re-resolves stale CIDRs on start": "no address is kept",
    "egress refresh thread: stability": "no address is kept",
    "--proxy routes image pull through proxy": "bottle fetches images itself: tests/tests/parent.rs and images.rs",
    "grpcio: secure channel ready": "needs the internet",
    "virtio-net: create works": "an option of smolvm's",
    "policy needs virtio-net": "an option of smolvm's",
    "pack run: guest networking works": "an option of smolvm's",
}

QUERY = r"\000\035\022\064\001\000\000\001\000\000\000\000\000\000\005other\004test\000\000\001\000\001"


def refused_at_once(status: int, said: str) -> bool:
    """An answer, and not a time limit: a command that failed within two seconds."""
    took = re.search(r"after (\d+)", said)
    return status != 0 and took is not None and int(took[1]) < 2000


def timed(command: str) -> str:
    """Returns a command that also says how many milliseconds it took."""
    now = "cut -d' ' -f1 /proc/uptime"
    took = "echo $(($(echo $1 | tr -d .) * 10 - $(echo $0 | tr -d .) * 10))"
    return f's=$({now}); {command}; r=$?; echo "after $(sh -c \'{took}\' $s $({now}))"; exit $r'


def script(command: str, port: int) -> str:
    """Returns a script in which the tools are busybox's: those of a bare machine."""
    tools = "".join(f'{name}() {{ busybox {name} "$@"; }}; ' for name in ("nslookup", "nc"))
    return tools + command.replace("{port}", str(port))


# smolvm's statement, a command in a guest, and what has to be true of its status and output.
REFUSALS: dict[str, tuple[str, Callable[[int, str], bool]]] = {
    "network disabled by default: a name does not resolve": (
        f"nslookup {OTHER}", lambda status, said: status != 0 or "NXDOMAIN" in said),
    "DNS filter: a domain that is not allowed does not resolve": (
        "nslookup attacker.example", lambda status, said: status != 0 or "NXDOMAIN" in said),
    "DNS filter: over TCP, too": (
        f"s=$(sed -n 's/^nameserver //p' /etc/resolv.conf | head -n 1); (printf '{QUERY}'; sleep 1) | nc -w 3 $s 53 2> /dev/null | wc -c",
        lambda status, said: said.split()[-1] == "0"),
    "allow-cidr blocks non-matching traffic, at once": (
        timed(f"nc -w 4 {ELSEWHERE} 443 < /dev/null > /dev/null 2>&1"), refused_at_once),
    "outbound-localhost-only blocks external, at once": (
        timed(f"nc -w 4 {ELSEWHERE} 80 < /dev/null > /dev/null 2>&1"), refused_at_once),
    "allow-host blocks non-matching traffic, at once": (
        timed(f"env http_proxy=${{HTTP_PROXY:-}} wget -q -T 5 -O- http://{OTHER}:{{port}}/"), refused_at_once),
    "allow_hosts of the file: others are blocked without the proxy, too": (
        timed(f"env http_proxy= wget -q -T 5 -O- http://{ELSEWHERE}:443/"), refused_at_once),
}  # fmt: skip
GRANTS: dict[str, tuple[str, Callable[[int, str], bool]]] = {
    "connect by hostname": (
        f"env http_proxy=$HTTP_PROXY wget -q -T 15 -O- http://{ALLOWED}:{{port}}/", lambda status, said: status == 0 and PAGE in said),
    "allow-host permits matching traffic": (
        f"(printf 'CONNECT {ALLOWED}:{{port}} HTTP/1.1\\r\\nHost: {ALLOWED}:{{port}}\\r\\n\\r\\nGET / HTTP/1.0\\r\\n\\r\\n'; sleep 1) | "
        "nc -w 10 proxy.internal ${HTTPS_PROXY##*:}", lambda status, said: PAGE in said),
    "DNS resolution, several times: the one name that there is": (
        "nslookup proxy.internal && nslookup proxy.internal", lambda status, said: status == 0 and said.count("192.168.") >= 2),
    "a datagram to an address without a route is an error": (
        "ip -6 route get 2001:db8::1", lambda status, said: status != 0),
    "the guest has an interface with an address, and a route": (
        "ip -4 addr show eth0; ip route", lambda status, said: "inet 192.168." in said and "default via" in said),
}  # fmt: skip


def say(text: str) -> None:
    print(f"smolvm-network: {text}", flush=True)


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(PAGE.encode())

    def log_message(self, *_: object) -> None:
        pass


def serve(address: str, port: int) -> int:
    server = http.server.ThreadingHTTPServer((address, port), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def without_bottle() -> int:
    """Asks for what a guest is refused in a network of our own, where all of it is reached. Runs in a new namespace."""
    subprocess.run(["sh", "-c", f"ip link set lo up; ip addr add {ELSEWHERE}/32 dev lo; mount --bind $0 /etc/resolv.conf", sys.argv[2]],
        check=True)  # fmt: skip
    for port in (80, 443):
        serve(ELSEWHERE, port)
    threading.Thread(target=names, args=(socket.SOCK_DGRAM,), daemon=True).start()
    threading.Thread(target=names, args=(socket.SOCK_STREAM,), daemon=True).start()
    time.sleep(0.5)
    seen = 0
    for statement, (command, holds) in REFUSALS.items():
        done = subprocess.run(["sh", "-c", script(command, 80)], capture_output=True, text=True)
        is_broken = not holds(done.returncode, done.stdout + done.stderr)
        seen += is_broken
        if not is_broken:
            say(f"NO WITNESS: {statement}: {done.stdout}{done.stderr}")
    say(f"without bottle, {seen} of {len(REFUSALS)} refusals do not hold")
    return 0 if seen == len(REFUSALS) else 1


def names(kind: socket.SocketKind) -> None:
    """Answers every question about a name with one address."""
    server = socket.socket(socket.AF_INET, kind)
    server.bind(("127.0.0.1", 53))

    def answer(query: bytes) -> bytes:
        end = query.index(b"\0", 12) + 5
        record = b"\xc0\x0c\0\x01\0\x01\0\0\0\x01\0\x04" + socket.inet_aton(ELSEWHERE)
        wanted = query[end - 4 : end - 2] == b"\0\x01"
        return query[:2] + b"\x81\x80\0\x01\0" + bytes([wanted]) + bytes(4) + query[12:end] + (record if wanted else b"")

    if kind == socket.SOCK_DGRAM:
        while True:
            query, peer = server.recvfrom(512)
            server.sendto(answer(query), peer)
    server.listen()
    while True:
        talk, _ = server.accept()
        with talk:
            said = answer(talk.recv(512)[2:])
            talk.sendall(len(said).to_bytes(2, "big") + said)


def main() -> int:
    if sys.argv[1:2] == ["without-bottle"]:
        return without_bottle()
    port = serve("127.0.0.1", 0)
    config = f'{SMALL}[workspace]\nmode = "none"\n[egress]\nallow = ["{ALLOWED}:{port}"]\nhosts = {{ "{ALLOWED}" = "127.0.0.1" }}\n'
    with Node("t", config) as node:
        names_file = node.folder / "resolv.conf"
        names_file.write_text("nameserver 127.0.0.1\n")
        words = ["unshare", "--net", "--mount", sys.executable, __file__, "without-bottle", str(names_file)]
        witness = subprocess.run(words).returncode == 0
        up = node.call("up")
        if up.returncode != 0:
            say(f"the guest did not start: {up.stderr}")
            return DID_NOT_START if up.returncode == DID_NOT_START else 1
        held = [statement for statement, check in (REFUSALS | GRANTS).items() if asked(node, statement, *check, port)]
        tried = len(REFUSALS) + len(GRANTS)
        for statement, check in more(port).items():
            tried += 1
            if check(node):
                held.append(statement)
            else:
                say(f"BROKEN: {statement}")
    say(f"in {GUEST}: {tried} statements tried, {len(held)} held, {len(NOT_APPLICABLE)} not applicable")
    return 0 if witness and len(held) == tried else 1


def asked(node: Node, statement: str, command: str, holds: Callable[[int, str], bool], port: int) -> bool:
    status, said = node.guest(script(command, port))
    if not holds(status, said):
        say(f"BROKEN: {statement}: status {status}: {said.strip()}")
        return False
    return True


def more(port: int) -> dict[str, Callable[[Node], bool]]:
    """What is asked of bottle itself."""
    allowed = GRANTS["connect by hostname"]
    blocked = REFUSALS["allow-host blocks non-matching traffic, at once"]

    def restarted(node: Node) -> bool:
        return node.call("restart", node.slug).returncode == 0 and all(
            asked(node, "after a restart", *check, port) for check in (allowed, blocked))  # fmt: skip

    def run_once(node: Node) -> bool:
        out = node.folder / "results"
        done = node.call("run", "--out", str(out), "--", "sh", "-c", script(allowed[0], port))
        return allowed[1](done.returncode, (out / "stdout").read_text())

    def no_ranges(node: Node) -> bool:
        before = (node.project / "bottle.toml").read_text()
        try:
            node.configure(before.split("\n", 1)[1].replace(f"{ALLOWED}:{port}", "10.0.0.0/40"))
            done = node.call("plan")
            return done.returncode != 0 and "10.0.0.0/40" in done.stderr
        finally:
            (node.project / "bottle.toml").write_text(before)

    def is_served(node: Node) -> bool:
        serve = "while :; do printf 'HTTP/1.0 200 OK\\r\\n\\r\\nserved\\n' | busybox nc -l -p 8080; done"
        node.guest(f"(setsid sh -c \"{serve}\" > /dev/null 2>&1 < /dev/null &)")
        with socket.create_server(("127.0.0.1", 0)) as free:
            host = free.getsockname()[1]
        words = [*node.bottle, "publish", node.slug, "8080", "--host", str(host)]
        publisher = subprocess.Popen(words, cwd=node.project, stdout=subprocess.DEVNULL)
        try:
            for _ in range(30):
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{host}/", timeout=30) as page:
                        return bool(page.read() == b"served\n")
                except OSError:
                    time.sleep(1)
            return False
        finally:
            publisher.terminate()
            publisher.wait()

    def conflicts(node: Node) -> bool:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            done = node.call("publish", node.slug, "8081", "--host", str(taken.getsockname()[1]), timeout=30)
            return done.returncode != 0

    return {
        "port: mapping host to guest HTTP": is_served,
        "port: a port that is taken is an error": conflicts,
        "allow-host persists across a restart": restarted,
        "machine run: guest networking works": run_once,
        "invalid CIDR rejected": no_ranges,
    }


if __name__ == "__main__":
    sys.exit(main())
