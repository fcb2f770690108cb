# What a hostile guest answers to a client that copies files.
import struct, sys
mode, i, o = sys.argv[1], sys.stdin.buffer, sys.stdout.buffer

def text(said): return struct.pack(">I", len(said)) + said
def number(said): return struct.pack(">I", said)
def send(kind, body): o.write(struct.pack(">IB", len(body) + 1, kind) + body); o.flush()
def name(said, line=b"-rw-r--r-- 1 root root 1 SHOWN"): return text(said) + text(line) + number(0)

if mode == "complains":
    sys.stderr.write("SHOWN\x1b]0;root\x07\x1b[2J\n"); sys.stderr.flush()
if mode == "floods":
    o.write(number(0xf0000000) + b"x" * 1000); o.flush()
ended = False
while len(head := i.read(4)) == 4:
    packet = i.read(struct.unpack(">I", head)[0])
    kind, id = packet[0], packet[1:5]
    if kind == 1: send(2, number(3))
    elif mode == "complains": send(101, id + number(4) + text(b"SHOWN\x1b[2J") + text(b"en"))
    elif kind in (3, 11): send(102, id + text(b"h"))
    elif kind == 12 and mode == "endless": send(104, id + number(5000) + name(b"x", b"") * 5000)
    elif kind == 12 and not ended:
        ended = True
        said = name(b"../outside/planted") if mode == "leads-out" else name(b"x", b"SHOWN\x1b[2J\x1b]52;c;x\x07")
        send(104, id + number(1) + said)
    elif kind == 5: send(103, id + text(b"x" * 70000))
    elif kind in (7, 8, 17): send(105, id + number(1) + struct.pack(">Q", 1 << 63))
    else: send(101, id + number(1) + text(b"") + text(b"en"))
