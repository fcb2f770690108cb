"""Looks for a key in everything that a guest has: search.py HEX WITNESS.

HEX is the key backwards, so that this program's own arguments do not hold it. It prints where the key was found, and
then where the witness was, a word that has to be found. It looks at all files that the guest can write, and at the
memory, the arguments and the environment of each process but this one.
"""

import os, re, sys

SKIPPED = ("/proc", "/sys", "/dev", "/usr", "/bin", "/lib", "/lib64", "/sbin", "/run/stand-in")
own = {os.getpid()}
words = [bytes.fromhex(sys.argv[1])[::-1], sys.argv[2].encode()]
found = [set(), set()]


def look(place, data):
    for word, places in zip(words, found):
        if word in data:
            places.add(place)


for folder, folders, files in os.walk("/"):
    folders[:] = [name for name in folders if os.path.join(folder, name) not in SKIPPED]
    for name in files:
        path = os.path.join(folder, name)
        if os.path.isfile(path) and not os.path.islink(path):
            with open(path, "rb") as file:
                while data := file.read(64 << 20):
                    look("file " + path, data)

for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
    if pid in own:
        continue
    try:
        with open(f"/proc/{pid}/comm") as file:
            name = file.read().strip()
        for part in ("cmdline", "environ"):
            with open(f"/proc/{pid}/{part}", "rb") as file:
                look(f"{part} of {name}", file.read())
        with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
            for line in maps:
                start, end, mode = re.match(r"(\w+)-(\w+) (\S+)", line).groups()
                if mode.startswith("rw"):
                    at, end = int(start, 16), int(end, 16)
                    while at < end:
                        try:
                            memory.seek(at)
                            look(f"memory of {name}", memory.read(min(end - at, 16 << 20)))
                        except OSError:
                            pass
                        at += 16 << 20
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        pass

print("key:", ", ".join(sorted(found[0])) or "nowhere")
print("witness:", ", ".join(sorted(found[1])) or "nowhere")
