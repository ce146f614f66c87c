"""A server that speaks OpenAI's protocol and always answers with one tool call."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

#: A request: path, Authorization header, body.
Asked = tuple[str, str, dict[str, Any]]


@contextmanager
def openai_server(tool: str, arguments: Mapping[str, Any]) -> Iterator[tuple[str, list[Asked]]]:
    """Yields the server's URL and the list of what it is asked."""
    seen: list[Asked] = []
    call = {"id": "1", "type": "function", "function": {"name": tool, "arguments": json.dumps(dict(arguments))}}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append((self.path, self.headers["Authorization"], body))
            message = {"role": "assistant", "content": None, "tool_calls": [call]}
            choice = {"index": 0, "finish_reason": "tool_calls", "message": message}
            reply = {"id": "r", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
            raw = json.dumps(reply).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", seen
    finally:
        server.shutdown()
        server.server_close()
