"""Every answer against the contract: status, headers and content type here, bodies by ajv, a public
validator of JSON Schema, in a node process that takes them in batches."""
import json
import os
import re
import select
import subprocess
import tempfile
import threading
import time

import pytest

from . import shell
from .contract import Contract

# "any operation may answer so", or no operation at all, or what a test has broken on purpose
ANYWHERE = {404, 405, 413, 415, 429, 431, 500, 503, 504, 507}
PROBLEM = "/components/schemas/Problem"
FORBIDDEN = re.compile(r"PostgreSQL|SQLSTATE|libpq|SELECT |\.c:\d+")


class Validator:
    BATCH = 500
    ANSWER_S = 60

    def __init__(self):
        self.contract = Contract()
        self.routes = [(method, re.compile("^" + re.sub(r"{\w+}", "[^/]+", path) + "$"), path)
                       for method, path in self.contract.operations]
        self.waiting, self.wrong, self.process, self.seen = [], [], None, 0
        self.lock = threading.RLock()

    def _start(self):
        if not (shell.NODE_MODULES / "done").exists():
            pytest.exit("tests/support/npm-install has not run: tests/support/npm-install tests "
                        f"{shell.NODE_MODULES}", returncode=1)
        contract = tempfile.NamedTemporaryFile("w", suffix=".json")
        with contract:
            json.dump(self.contract.document, contract, default=str)
            contract.flush()
            process = subprocess.Popen(
                ["node", shell.ROOT / "tests/support/validator.cjs", shell.NODE_MODULES,
                 contract.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self._ask(process, [])  # when it answers it has read the file
            self.process = process

    def _ask(self, process, batch):
        """One answer for each of the batch; a process that does not give them is ended."""
        try:
            process.stdin.write(json.dumps(batch).encode() + b"\n")
            process.stdin.flush()
            found = json.loads(read_line(process.stdout, self.ANSWER_S))
            assert len(found) == len(batch), "the validator gave fewer answers than it was asked for"
            return found
        except BaseException:
            process.kill()
            process.wait()
            self.process, self.waiting = None, []
            raise

    def close(self):
        if self.process:
            self.process.stdin.close()
            self.process.wait(10)
            self.process = None

    def operation(self, method, path):
        """The contract's path, or None."""
        method = "GET" if method == "HEAD" else method
        plain = path.split("?")[0]
        for known, pattern, found in self.routes:
            if known == method and pattern.match(plain):
                return found
        return None

    def schema_of(self, method, path, status, content_type):
        """(pointer of the schema, or None without a body; what is wrong, or None)."""
        found = self.operation(method, path)
        responses = found and self.contract.operations[
            "GET" if method == "HEAD" else method, found]["responses"]
        if not responses or str(status) not in responses:
            if status in ANYWHERE or not responses and status in (401, 403):
                return PROBLEM, None
            return None, f"status {status} is not in the contract"
        content = self.contract.resolve(responses[str(status)]).get("content")
        if not content:
            return None, None
        if content_type not in content:
            return None, f"content type {content_type} is not in the contract"
        node = responses[str(status)]
        base = node["$ref"].removeprefix("#") if "$ref" in node else (
            f"/paths/{escape(found)}/{'get' if method == 'HEAD' else method.lower()}/responses/{status}")
        return f"{base}/content/{escape(content_type)}/schema", None

    def see(self, method, path, answer):
        """One answer; what is wrong with it is told by finish(). From any thread."""
        with self.lock:
            self._see(method, path, answer)

    def _see(self, method, path, answer):
        self.seen += 1
        if answer.status in (413, 431) and not answer.headers["X-Request-Id"]:
            return  # too large for libmicrohttpd, which answers by itself before it calls anybody
        what = f"{method} {path} {answer.status}: {answer.body[:300]!r}"
        content_type = answer.headers.get_content_type() if answer.headers["Content-Type"] else None
        pointer, wrong = self.schema_of(method, path, answer.status, content_type)
        if not wrong and not answer.headers["X-Request-Id"]:
            wrong = "no X-Request-Id"
        if not wrong and answer.status >= 400 and method != "HEAD" and \
                content_type != "application/problem+json":
            wrong = "a refusal without a problem document"
        if not wrong and answer.status >= 400 and FORBIDDEN.search(answer.text):
            wrong = "tells of the inside"
        if not wrong and answer.status == 405 and not answer.headers["Allow"]:
            wrong = "no Allow"
        if wrong:
            self.wrong.append(f"{wrong}: {what}")
        elif pointer and answer.body and content_type.endswith("json"):
            self.waiting.append((what, pointer, answer.body.decode("utf-8", "replace")))
        if len(self.waiting) >= self.BATCH:
            self.flush()

    def flush(self):
        if not self.waiting:
            return
        if not self.process:
            self._start()
        found = self._ask(self.process, [(pointer, body) for _, pointer, body in self.waiting])
        self.wrong += [f"{error}: {what}" for error, (what, _, _) in zip(found, self.waiting) if error]
        self.waiting = []

    def finish(self):
        """What was wrong since the last call."""
        with self.lock:
            self.flush()
            wrong, self.wrong = self.wrong, []
            return wrong


def read_line(stream, timeout_s):
    """Up to the line's end, which closes an answer."""
    end, line = time.monotonic() + timeout_s, b""
    while not line.endswith(b"\n"):
        left = end - time.monotonic()
        assert left > 0 and select.select([stream], [], [], left)[0], \
            f"the validator did not answer within {timeout_s} s"
        part = os.read(stream.fileno(), 1 << 20)
        assert part, "the validator has ended"
        line += part
    return line


def escape(key):
    """As part of a JSON pointer in a URI fragment."""
    return key.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D") \
        .replace("+", "%2B")
