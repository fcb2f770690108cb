"""An https origin for tests: origin.py ADDRESS CERTIFICATE KEY FOLDER.

It writes each request into seen.jsonl beside the folder. /refused answers 401, /first answers 401 to the first token of
token.sh, /mirror shows the request's headers, /early answers 413 and closes the connection without reading the body, and
/many has more headers than most. Anything else is 200.
"""

import json, os, socketserver, ssl, sys, threading

writing = threading.Lock()


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while line := self.rfile.readline():
            method, path, _ = line.decode().split()
            headers = {}
            while (line := self.rfile.readline().decode().strip()) != "":
                name, value = line.split(":", 1)
                headers[name.lower()] = value.strip()
            with writing, open(os.path.join(folder, "..", "seen.jsonl"), "a") as file:
                file.write(json.dumps({"method": method, "path": path, "headers": headers}) + "\n")
            if path == "/early":
                self.say("413 Content Too Large", "too large\n", "connection: close\r\n")
                return
            self.rfile.read(int(headers.get("content-length", 0)))
            is_first = path == "/first" and headers.get("authorization") == "token-0001"
            if path == "/closing" or path == "/refused" or is_first:
                self.say("401 Unauthorized", "no\n", "connection: close\r\n" if path == "/closing" else "")
                if path == "/closing":
                    return
            elif path == "/mirror":
                self.say("200 OK", json.dumps(headers))
            else:
                self.say("200 OK", "fine\n", "".join(f"x-{i}: y\r\n" for i in range(150 if path == "/many" else 0)))

    def say(self, status, text, headers=""):
        self.wfile.write(f"HTTP/1.1 {status}\r\n{headers}content-length: {len(text)}\r\n\r\n{text}".encode())


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """A client that hangs up is no error of the server's."""


address, certificate, key, folder = sys.argv[1:]
server = Server((address, 443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
