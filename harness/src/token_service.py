"""A stand-in for a vendor's token service and for the API that takes its tokens, over https:
token_service.py ADDRESS CERTIFICATE KEY FOLDER.

It renews "refresh-token-N" to "access-token-N+1" and "refresh-token-N+1", and forgets the old ones. The API answers
whoever has the last access token, and 401 to others. /revoke makes it forget the access token, and /forget the login.
"""

import http.server, json, os, ssl, sys, threading

state = {"number": 0, "revoked": False, "forgotten": False}
lock = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.do_POST()

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        with lock:
            status, answer = self.answer(headers, body)
            seen = {"method": self.command, "path": self.path, "headers": headers, "body": body, "status": status}
            with open(os.path.join(folder, "..", "seen.jsonl"), "a") as file:
                file.write(json.dumps(seen) + "\n")
        answer = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def answer(self, headers, body):
        if self.path.endswith("/oauth/token"):
            asked = json.loads(body)
            if state["forgotten"] or asked["refresh_token"] != f"refresh-token-{state['number']:04}":
                return 400, {"error": "invalid_grant", "error_description": "who are you"}
            state["number"] += 1
            state["revoked"] = False
            number = f"{state['number']:04}"
            return 200, {"access_token": f"access-token-{number}", "refresh_token": f"refresh-token-{number}", "expires_in": 3600}
        if state["revoked"] or headers.get("authorization") != f"Bearer access-token-{state['number']:04}":
            return 401, {"error": "authentication_error"}
        state["revoked"] = self.path.endswith("/revoke") or self.path.endswith("/forget")
        state["forgotten"] = self.path.endswith("/forget")
        return 200, {"said": body}

    def log_message(self, *words):
        pass


address, certificate, key, folder = sys.argv[1:]
server = http.server.ThreadingHTTPServer((address, 443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
