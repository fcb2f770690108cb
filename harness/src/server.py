"""An https server for tests: server.py ADDRESS CERTIFICATE KEY FOLDER.

It serves the folder, and writes each request that it has not got a file for into seen.jsonl beside the
folder, headers and all: whoever asked is told the rest of it. Below /mirror, and whoever asks with a
method of another kind, is shown the headers too; below /mirror-header they are headers of the answer, and below
/mirror-reason what stands beside its status.
/events sends its second event only after somebody has asked for /go: a proxy that holds events back is
found without a clock. /drip sends a byte now and then, for as long as somebody listens. /wait answers nothing,
and /busy answers 429. What is put below /sink is counted and forgotten. /socket is a WebSocket that sends each
message back; "key" gets the headers of its request. Whoever leaves /drip or /wait too early is written down.
"""

import base64, functools, hashlib, http.server, json, os, ssl, sys, threading, time

go = threading.Event()
writing = threading.Lock()


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path.startswith("/echo"):
            self.say(self.seen(), [("set-cookie", "session=as-good-as-the-key")])
        elif self.path.startswith("/mirror-header"):
            self.say(self.seen(), [("x-seen", self.shown())])
        elif self.path.startswith("/mirror-reason"):
            self.seen()
            self.send_response(200, self.shown())
            self.send_header("content-length", "0")
            self.end_headers()
        elif self.path.startswith("/mirror"):
            self.seen()
            self.say(self.shown().encode())
        elif self.path == "/events":
            self.events()
        elif self.path == "/go":
            go.set()
            self.say(b"gone\n")
        elif self.path == "/drip":
            self.drip()
        elif self.path == "/wait":
            self.seen()
            self.rfile.read(1)
            self.left()
        elif self.path == "/busy":
            self.send_response(429)
            self.send_header("retry-after", "7")
            self.send_header("content-length", "0")
            self.end_headers()
        elif self.path == "/socket":
            self.seen()
            self.socket()
        elif os.path.exists(self.translate_path(self.path)):
            super().do_GET()
        else:
            self.seen()
            self.send_error(404)

    def do_POST(self):
        self.say(self.seen())

    def do_PUT(self):
        length = left = int(self.headers["content-length"])
        while left > 0 and (part := self.rfile.read(min(left, 1 << 16))):
            left -= len(part)
        self.say(b"%d" % (length - left))

    def do_TRACE(self):
        self.seen()
        # Like a server that compresses its answers: nobody on the way can see what is in them.
        self.say(self.shown().encode()[::-1])

    do_TRACK = do_DEBUG = do_TRACE

    def shown(self):
        return json.dumps({name.lower(): value for name, value in self.headers.items()})

    def left(self):
        with writing, open(os.path.join(folder, "..", "seen.jsonl"), "a") as file:
            file.write(json.dumps({"left": self.path}) + "\n")

    def socket(self):
        key = self.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("connection", "Upgrade")
        self.send_header("upgrade", "websocket")
        self.send_header("sec-websocket-accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.close_connection = True
        # Messages are short, in one frame each, and masked.
        while head := self.rfile.read(2):
            mask, data = self.rfile.read(4), self.rfile.read(head[1] & 127)
            data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
            data = self.shown().encode() if data == b"key" else data
            size = bytes([len(data)]) if len(data) < 126 else b"\x7e" + len(data).to_bytes(2, "big")
            self.wfile.write(bytes([head[0]]) + size + data)

    def seen(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        seen = {"method": self.command, "path": self.path, "body": body.decode()}
        with writing, open(os.path.join(folder, "..", "seen.jsonl"), "a") as file:
            file.write(json.dumps(seen | {"headers": json.loads(self.shown())}) + "\n")
        return json.dumps(seen).encode()

    def say(self, text, headers=()):
        self.send_response(200)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def events(self):
        self.begin("text/event-stream")
        self.chunk(b"data: first\n\n")
        self.chunk(b"data: second\n\n" if go.wait(20) else b"data: late\n\n")
        self.chunk(b"")

    def drip(self):
        self.begin("text/plain")
        try:
            for _ in range(600):
                self.chunk(b".")
                time.sleep(0.05)
            self.chunk(b"")
        except OSError:
            self.left()
            raise

    def begin(self, kind):
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def chunk(self, text):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
        self.wfile.flush()

    def log_message(self, *words):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """A client that hangs up is no error of the server's."""


address, certificate, key, folder = sys.argv[1:]
server = Server((address, 443), functools.partial(Handler, directory=folder))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
