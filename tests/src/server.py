"""An https server for tests: server.py ADDRESS CERTIFICATE KEY FOLDER.

It serves the folder, shows requests below /echo, and sends the second event of /events only after
somebody has asked for /go: a proxy that holds events back is found without a clock.
"""

import functools, http.server, json, ssl, sys, threading

go = threading.Event()


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path.startswith("/echo"):
            self.echo()
        elif self.path == "/events":
            self.events()
        elif self.path == "/go":
            go.set()
            self.say(b"gone\n")
        else:
            super().do_GET()

    def do_POST(self):
        self.echo()

    def echo(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = {"method": self.command, "path": self.path, "headers": headers, "body": body.decode()}
        self.say(json.dumps(seen).encode())

    def say(self, text):
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def events(self):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.chunk(b"data: first\n\n")
        self.chunk(b"data: second\n\n" if go.wait(20) else b"data: late\n\n")
        self.chunk(b"")

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
