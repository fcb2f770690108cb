"""A scripted model for tests: model.py ADDRESS CERTIFICATE KEY FOLDER.

It speaks as much of three vendors' APIs as their command-line agents need: Anthropic's messages, OpenAI's responses,
and Gemini's generateContent, streamed or not. It reads no meaning. FOLDER/steps.json is a list of steps, each a command for
the agent's shell ({"shell": ...}) or a tool and its arguments ({"tool": ..., "arguments": ...}): how many results a request has
says which one is next, and after the last one all is done. An agent without tools is given FOLDER/answer. Each line of
FOLDER/troubles is what one request gets instead of an answer: a status such as 429, or `cut`, half an answer and no end.
As long as there is FOLDER/stall, nobody is answered. A GET for another host than a vendor's is answered with FOLDER/page.

Each request is written into seen.jsonl beside the folder, with its headers and what it got, and without its body but for its
length and the lines of FOLDER/wanted that are in it.
"""

import http.server, json, os, re, ssl, sys, threading, time

DONE = "All is done."
writing = threading.Lock()
# The names that agents give their shell, and the argument that takes the command.
SHELLS = {"Bash": "command", "bash": "command", "run_shell_command": "command", "shell_command": "command",
          "exec_command": "cmd", "shell": "command", "local_shell": "command"}
# What the shell says while a tool is not there, and how often at most.
LATER, MOST_LATER = "undecided: there is no such tool yet", 24
# What Codex says of a command that goes on.
RUNNING = re.compile(r"Process running with session ID (\d+)")


def read(name, otherwise=""):
    try:
        with open(os.path.join(folder, name)) as file:
            return file.read().strip()
    except FileNotFoundError:
        return otherwise


def is_open(result):
    """Whether a result is none yet: nobody has decided, or the command still runs."""
    return "undecided" in result or RUNNING.search(result) is not None


def next_call(tools, results):
    """The tool to call after these results, with its arguments and its namespace. `tools` are names and namespaces."""
    steps = json.loads(read("steps.json", "[]"))
    done = sum(not is_open(result) for result in results)
    if not tools or done >= len(steps):
        return None
    if results and (running := RUNNING.search(results[-1])):
        return "write_stdin", {"session_id": int(running[1]), "chars": "", "yield_time_ms": 30_000}, None
    if "tool" in (step := steps[done]):
        for name, space in tools:
            if name.endswith(step["tool"]):
                return name, step["arguments"], space
        if sum(LATER in result for result in results) == MOST_LATER:
            return None
        # The agent has not heard of its servers' tools yet: in an emulated guest that takes longer than its first requests.
        step = {"shell": f"sleep 5; echo '{LATER}'"}
    for name, _ in tools:
        if name in SHELLS:
            command = step["shell"]
            arguments = {SHELLS[name]: ["bash", "-lc", command] if name == "shell" else command}
            if name in ("Bash", "bash"):
                arguments |= {"description": "Runs the command", "timeout": 500_000}
            return name, arguments, None
    return None


def pieces(text):
    """A text as it is streamed."""
    return [text[at:at + 24] for at in range(0, len(text), 24)]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    is_cut = False

    def do_GET(self):
        page = read("page") if self.headers.get("host", "").endswith(".test") else ""
        self.note(b"", "page" if page else "")
        if page:
            return self.whole(page.encode(), 200, "text/plain")
        self.json({"data": [], "models": [], "object": "list", "has_more": False})

    def do_POST(self):
        body = self.body()
        path = self.path.split("?")[0]
        kind = next((kind for end, kind in ENDS.items() if path.endswith(end)), None)
        trouble = self.trouble() if kind else ""
        self.is_cut = trouble == "cut"
        self.note(body, trouble)
        while kind and os.path.exists(os.path.join(folder, "stall")):
            time.sleep(0.05)
        try:
            asked = json.loads(body)
        except ValueError:
            return self.json({"error": {"type": "invalid_request_error", "message": "no JSON"}}, 400)
        if path.endswith(("/count_tokens", ":countTokens")):
            return self.json({"input_tokens": 10, "totalTokens": 10})
        if kind is None:
            return self.json({"error": {"type": "not_found_error", "message": path}}, 404)
        if trouble.isdigit():
            error = {"type": "overloaded_error" if trouble == "529" else "rate_limit_error", "message": "slow down"}
            return self.json({"type": "error", "error": error}, int(trouble), [("retry-after", "1")])
        kind(self, asked)

    def trouble(self):
        with writing:
            lines = read("troubles").splitlines()
            if lines:
                with open(os.path.join(folder, "troubles"), "w") as file:
                    file.write("\n".join(lines[1:]))
            return lines[0] if lines else ""

    def anthropic(self, asked):
        parts = [part for message in asked["messages"] if isinstance(message["content"], list) for part in message["content"]]
        results = [json.dumps(part.get("content")) for part in parts if part.get("type") == "tool_result"]
        call = next_call([(tool.get("name"), None) for tool in asked.get("tools", [])], results)
        text = DONE if results else read("answer", DONE)
        content = {"type": "tool_use", "id": f"toolu_{len(results)}", "name": call[0], "input": call[1]} if call else {"type": "text", "text": text}
        usage = {"input_tokens": 10, "output_tokens": 10}
        stop = "tool_use" if call else "end_turn"
        whole = {"id": "msg_1", "type": "message", "role": "assistant", "model": asked["model"], "stop_reason": stop,
                 "stop_sequence": None, "usage": usage, "content": [content]}
        if not asked.get("stream"):
            return self.json(whole)
        if call:
            start = content | {"input": {}}
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces(json.dumps(call[1]))]
        else:
            start, deltas = content | {"text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces(text)]
        self.events([
            {"type": "message_start", "message": whole | {"content": [], "stop_reason": None}},
            {"type": "content_block_start", "index": 0, "content_block": start},
            {"type": "ping"},
            *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": usage},
            {"type": "message_stop"},
        ])

    def openai(self, asked):
        inputs = asked["input"] if isinstance(asked["input"], list) else []
        results = [json.dumps(item.get("output")) for item in inputs if str(item.get("type", "")).endswith("_output")]
        tools = []
        for tool in asked.get("tools", []):
            inner = tool.get("tools", []) if tool.get("type") == "namespace" else [tool]
            space = tool["name"] if tool.get("type") == "namespace" else None
            tools += [(one.get("name") or one.get("type"), space) for one in inner]
        call = next_call(tools, results)
        text = DONE if results else read("answer", DONE)
        if call:
            item = {"type": "function_call", "id": f"fc_{len(results)}", "call_id": f"call_{len(results)}", "name": call[0],
                    "arguments": json.dumps(call[1]), "status": "completed"} | ({"namespace": call[2]} if call[2] else {})
            deltas = [{"type": "response.function_call_arguments.delta", "item_id": item["id"], "output_index": 0, "delta": piece}
                      for piece in pieces(item["arguments"])]
        else:
            item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                    "content": [{"type": "output_text", "text": text, "annotations": []}]}
            deltas = [{"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": piece}
                      for piece in pieces(text)]
        usage = {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 10,
                 "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 20}
        whole = {"id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": asked["model"],
                 "output": [item], "usage": usage}
        if not asked.get("stream"):
            return self.json(whole)
        self.events([
            {"type": "response.created", "response": whole | {"status": "in_progress", "output": [], "usage": None}},
            {"type": "response.output_item.added", "output_index": 0, "item": item | {"status": "in_progress"}},
            *deltas,
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": whole},
        ])

    def gemini(self, asked):
        parts = [part for content in asked["contents"] for part in content.get("parts", [])]
        results = [json.dumps(part["functionResponse"]) for part in parts if "functionResponse" in part]
        declared = [one for tool in asked.get("tools", []) for one in tool.get("functionDeclarations", [])]
        call = next_call([(one["name"], None) for one in declared], results)
        text = DONE if results else read("answer", DONE)
        parts = [{"functionCall": {"name": call[0], "args": call[1]}}] if call else [{"text": piece} for piece in pieces(text)]
        usage = {"promptTokenCount": 10, "candidatesTokenCount": 10, "totalTokenCount": 20}

        def part(parts, end):
            candidate = {"content": {"role": "model", "parts": parts}, "index": 0} | end
            return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "scripted"}

        end = {"finishReason": "STOP"}
        if ":streamGenerateContent" in self.path:
            return self.events([*(part([one], {}) for one in parts), part([{"text": ""}], end)], named=False)
        self.json(part(parts, end))

    def body(self):
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def note(self, body, got):
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            text = json.dumps(json.loads(body), ensure_ascii=False)
        except ValueError:
            text = ""
        found = [word for word in read("wanted").splitlines() if word in text]
        line = {"method": self.command, "path": self.path, "headers": headers, "body": len(body), "found": found, "got": got}
        with writing, open(os.path.join(folder, "..", "seen.jsonl"), "a") as file:
            file.write(json.dumps(line) + "\n")

    def json(self, answer, status=200, headers=()):
        self.whole(json.dumps(answer).encode(), status, "application/json", headers)

    def whole(self, text, status, kind, headers=()):
        self.send_response(status)
        for name, value in [("content-type", kind), ("content-length", str(len(text))), *headers]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text[:len(text) // 2] if self.is_cut else text)
        self.close_connection |= self.is_cut

    def events(self, events, named=True):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in events[:(len(events) + 1) // 2] if self.is_cut else events:
            name = f"event: {event['type']}\n" if named else ""
            text = f"{name}data: {json.dumps(event)}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
            self.wfile.flush()
        if self.is_cut:
            self.close_connection = True
        else:
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
