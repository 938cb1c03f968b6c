"""Clients of the event stream, and a receiver of webhooks, both independent of the program's code."""
import contextlib
import hashlib
import hmac
import http.client
import http.server
import json
import socket
import ssl
import threading


class Stream:
    """GET /v1/events as a browser does it. `events` grows with what comes; `position` is the last id
    that was told, of an event or not."""

    def __init__(self, coordinator, token, query="", last=None, is_read=True):
        context = ssl.create_default_context(cafile=str(coordinator.ca_path))
        self.connection = http.client.HTTPSConnection(
            "127.0.0.1", coordinator.configuration["api"]["port"], context=context, timeout=60)
        headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
        if last is not None:
            headers["Last-Event-ID"] = str(last)
        self.connection.request("GET", f"/v1/events{query}", headers=headers)
        self.socket = self.connection.sock
        self.answer = self.connection.getresponse()
        self.status = self.answer.status
        self.events = []
        self.position = last
        self.end = None  # "whole", or how it broke
        self.thread = threading.Thread(target=self.read, daemon=True)
        if is_read and self.status == 200:
            self.thread.start()

    def lines(self):
        """Of the chunks, so that an end without the last one is seen: it is a break."""
        rest = b""
        while True:
            head = self.answer.fp.readline()
            if not head:
                raise EOFError("broken off")
            size = int(head, 16)
            data = self.answer.fp.read(size)
            self.answer.fp.readline()
            if size == 0:
                return
            *whole, rest = (rest + data).split(b"\n")
            yield from whole

    def read(self):
        fields = {}
        try:
            for line in self.lines():
                text = line.decode()
                if text:
                    name, _, value = text.partition(":")
                    fields.setdefault(name, []).append(value.removeprefix(" "))
                    continue
                if "id" in fields:
                    self.position = int(fields["id"][-1])
                if "data" in fields:
                    event = json.loads("\n".join(fields["data"]))
                    assert fields["event"] == [event["kind"]], fields
                    assert self.position == event["sequence"], fields
                    self.events.append(event)
                fields = {}
            self.end = "whole"
        except Exception as failure:  # noqa: BLE001 - the test looks at it
            self.end = repr(failure)

    def close(self):
        """Breaks off; what was not read is lost."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        if self.thread.ident:
            self.thread.join(10)
        self.socket.close()

    def kinds(self):
        return [event["kind"] for event in self.events]

    def sequences(self):
        return [event["sequence"] for event in self.events]


class Receiver:
    """An HTTP receiver that checks each signature. `answers(event id, count)` gives the status of the
    count-th call for this event; `calls` has (event id, kind, body, delivery) of each."""

    def __init__(self, port, secret=None, answers=lambda event, count: 204):
        self.secret = secret
        self.answers = answers
        self.calls = []
        self.wrong = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                receiver.take(self)

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, request):
        body = request.rfile.read(int(request.headers["Content-Length"]))
        parts = dict(part.split("=", 1) for part in request.headers["Crosspool-Signature"].split(","))
        expected = hmac.new((self.secret or "").encode(), parts["t"].encode() + b"." + body,
                            hashlib.sha256).hexdigest()
        event = request.headers["Crosspool-Event-Id"]
        if self.secret and not hmac.compare_digest(expected, parts["v1"]):
            self.wrong.append(event)
        count = sum(1 for call in self.calls if call[0] == event)
        status = self.answers(event, count)
        self.calls.append((event, request.headers["Crosspool-Event-Kind"], json.loads(body),
                           request.headers["Crosspool-Delivery"]))
        request.send_response(status)
        if 300 <= status < 400:
            request.send_header("Location", self.url)
        request.send_header("Content-Length", "0")
        request.end_headers()

    def accepted(self):
        """Event ids in the order of their first call."""
        return list(dict.fromkeys(call[0] for call in self.calls))

    def close(self):
        self.server.shutdown()
        self.server.server_close()
