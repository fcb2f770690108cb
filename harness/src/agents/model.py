"""A scripted model for tests: model.py ADDRESS CERTIFICATE KEY FOLDER.

It speaks as much of three vendors' APIs as their command-line agents need: Anthropic's messages, OpenAI's responses,
and Gemini's generateContent, streamed or not. It reads no meaning: the first request that offers a shell is told to
run FOLDER/command in it, and whoever returns with a result is told that all is done. An agent without tools is given
FOLDER/answer. The first request of all is answered with FOLDER/first, a status such as 429, if there is that file. As long
as there is FOLDER/stall, nobody is answered.

Each request is written into seen.jsonl beside the folder, with its headers, and without its body but for its length and
the lines of FOLDER/wanted that are in it.
"""

import http.server, json, os, ssl, sys, threading, time

DONE = "All is done."
writing = threading.Lock()
# The names that agents give their shell, and the argument that takes the command.
SHELLS = {"Bash": "command", "bash": "command", "run_shell_command": "command", "shell_command": "command",
          "exec_command": "cmd", "shell": "command", "local_shell": "command"}


def read(name, otherwise=""):
    try:
        with open(os.path.join(folder, name)) as file:
            return file.read().strip()
    except FileNotFoundError:
        return otherwise


def shell(names):
    """The first of these tools that is a shell, with the arguments that run the command."""
    for name in names:
        if name in SHELLS:
            command = read("command")
            arguments = {SHELLS[name]: ["bash", "-lc", command] if name == "shell" else command}
            if name in ("Bash", "bash"):
                arguments |= {"description": "Runs the command", "timeout": 500_000}
            return name, arguments
    return None, None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.note(b"")
        self.json({"data": [], "models": [], "object": "list", "has_more": False})

    def do_POST(self):
        body = self.body()
        self.note(body)
        path = self.path.split("?")[0]
        try:
            asked = json.loads(body)
        except ValueError:
            return self.json({"error": {"type": "invalid_request_error", "message": "no JSON"}}, 400)
        if path.endswith(("/count_tokens", ":countTokens")):
            return self.json({"input_tokens": 10, "totalTokens": 10})
        kind = next((kind for end, kind in ENDS.items() if path.endswith(end)), None)
        if kind is None:
            return self.json({"error": {"type": "not_found_error", "message": path}}, 404)
        while os.path.exists(os.path.join(folder, "stall")):
            time.sleep(0.05)
        first = read("first")
        if first:
            os.remove(os.path.join(folder, "first"))
            error = {"type": "rate_limit_error", "message": "slow down", "code": "rate_limit_exceeded"}
            return self.json({"type": "error", "error": error}, int(first), [("retry-after", "1")])
        kind(self, asked)

    def anthropic(self, asked):
        results = any(
            part.get("type") == "tool_result"
            for message in asked["messages"] if isinstance(message["content"], list) for part in message["content"]
        )
        name, arguments = (None, None) if results else shell(tool.get("name") for tool in asked.get("tools", []))
        text = DONE if results or name else read("answer", DONE)
        content = {"type": "tool_use", "id": "toolu_1", "name": name, "input": arguments} if name else {"type": "text", "text": text}
        usage = {"input_tokens": 10, "output_tokens": 10}
        stop = "tool_use" if name else "end_turn"
        whole = {"id": "msg_1", "type": "message", "role": "assistant", "model": asked["model"], "stop_reason": stop,
                 "stop_sequence": None, "usage": usage, "content": [content]}
        if not asked.get("stream"):
            return self.json(whole)
        if name:
            start, delta = content | {"input": {}}, {"type": "input_json_delta", "partial_json": json.dumps(arguments)}
        else:
            start, delta = content | {"text": ""}, {"type": "text_delta", "text": text}
        self.events([
            {"type": "message_start", "message": whole | {"content": [], "stop_reason": None}},
            {"type": "content_block_start", "index": 0, "content_block": start},
            {"type": "ping"},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": usage},
            {"type": "message_stop"},
        ])

    def openai(self, asked):
        inputs = asked["input"] if isinstance(asked["input"], list) else []
        results = any(str(item.get("type", "")).endswith("_output") for item in inputs)
        names = [tool.get("name") or tool.get("type") for tool in asked.get("tools", [])]
        name, arguments = (None, None) if results else shell(names)
        if name:
            item = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": name,
                    "arguments": json.dumps(arguments), "status": "completed"}
        else:
            text = DONE if results else read("answer", DONE)
            item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                    "content": [{"type": "output_text", "text": text, "annotations": []}]}
        usage = {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 10,
                 "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 20}
        whole = {"id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": asked["model"],
                 "output": [item], "usage": usage}
        if not asked.get("stream"):
            return self.json(whole)
        self.events([
            {"type": "response.created", "response": whole | {"status": "in_progress", "output": [], "usage": None}},
            {"type": "response.output_item.added", "output_index": 0, "item": item | {"status": "in_progress"}},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": whole},
        ])

    def gemini(self, asked):
        parts = [part for content in asked["contents"] for part in content.get("parts", [])]
        results = any("functionResponse" in part for part in parts)
        declared = [one for tool in asked.get("tools", []) for one in tool.get("functionDeclarations", [])]
        name, arguments = (None, None) if results else shell(one["name"] for one in declared)
        text = DONE if results or name else read("answer", DONE)
        part = {"functionCall": {"name": name, "args": arguments}} if name else {"text": text}
        whole = {"candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}],
                 "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 10, "totalTokenCount": 20},
                 "modelVersion": "scripted"}
        if ":streamGenerateContent" in self.path:
            return self.events([whole], named=False)
        self.json(whole)

    def body(self):
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def note(self, body):
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            text = json.dumps(json.loads(body), ensure_ascii=False)
        except ValueError:
            text = ""
        found = [word for word in read("wanted").splitlines() if word in text]
        line = {"method": self.command, "path": self.path, "headers": headers, "body": len(body), "found": found}
        with writing, open(os.path.join(folder, "..", "seen.jsonl"), "a") as file:
            file.write(json.dumps(line) + "\n")

    def json(self, answer, status=200, headers=()):
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def events(self, events, named=True):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in events:
            name = f"event: {event['type']}\n" if named else ""
            text = f"{name}data: {json.dumps(event)}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *words):
        pass


ENDS = {"/messages": Handler.anthropic, "/responses": Handler.openai, ":generateContent": Handler.gemini,
        ":streamGenerateContent": Handler.gemini}


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """A client that hangs up is no error of the server's."""


address, certificate, key, folder = sys.argv[1:]
server = Server((address, 443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
