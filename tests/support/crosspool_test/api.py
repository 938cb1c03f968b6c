"""HTTPS and JSON: a client that trusts one CA and shows a token or a client certificate."""
import http.client
import json
import select
import ssl
import threading
import time
import urllib.parse


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def text(self):
        return self.body.decode()

    def json(self):
        return json.loads(self.body) if self.body else None


class Api:
    """identity: (certificate file, key file) of a client certificate."""

    observer = None  # called with method, path and Answer of each exchange of all clients

    def __init__(self, url, ca_path, token=None, identity=None, timeout=60):
        parts = urllib.parse.urlsplit(url)
        self.url = url
        self.address = (parts.hostname, parts.port)
        self.token = token
        self.timeout = timeout
        self.context = ssl.create_default_context(cafile=str(ca_path))
        if identity:
            self.context.load_cert_chain(*map(str, identity))
        self.local = threading.local()

    def _connection(self):
        connection = getattr(self.local, "connection", None)
        if connection is None:
            connection = http.client.HTTPSConnection(*self.address, timeout=self.timeout,
                                                     context=self.context)
            self.local.connection = connection
        return connection

    def close(self):
        connection = getattr(self.local, "connection", None)
        if connection is not None:
            connection.close()
            self.local.connection = None

    def request(self, method, path, body=None, headers=None):
        """The Answer, whatever its status. body: bytes, or an object that is sent as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} if data is not None else {}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        sent.update(headers or {})
        self._close_stale()
        return self._exchange(method, path, data, sent)

    def _close_stale(self):
        """A kept connection that has something to say was closed by the other side meanwhile: a
        POST over it would fail and leave unknown whether it was done."""
        connection = getattr(self.local, "connection", None)
        if connection is not None and connection.sock is not None and \
                select.select([connection.sock], [], [], 0)[0]:
            self.close()

    def _exchange(self, method, path, data, headers):
        connection = self._connection()
        try:
            connection.request(method, path, body=data, headers=headers)
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        except BaseException:
            self.close()
            raise
        if response.will_close:
            self.close()
        if Api.observer:
            Api.observer(method, path, answer)
        return answer

    def _expect(self, method, path, body, expect):
        answer = self.request(method, path, body)
        wanted = expect if isinstance(expect, tuple) else (expect,) if expect else range(200, 300)
        assert answer.status in wanted, \
            f"{method} {path}: {answer.status} instead of {wanted}: {answer.text}"
        if answer.headers.get_content_type().endswith("json"):
            return answer.json()
        return answer.text

    def get(self, path, expect=None):
        return self._expect("GET", path, None, expect)

    def post(self, path, body=None, expect=None):
        return self._expect("POST", path, body, expect)

    def put(self, path, body, expect=None):
        return self._expect("PUT", path, body, expect)

    def delete(self, path, expect=None):
        return self._expect("DELETE", path, None, expect)


class AnyApi(Api):
    """Whichever of several coordinators answers, as an agent with a list of them asks: a call that
    gets no answer, or one of 500 and more, is made again at the next, for `patience` seconds."""

    REST_S = 0.05

    def __init__(self, apis, patience=60):
        self.apis = list(apis)
        self.patience = patience
        self.turn = threading.local()

    def close(self):
        for api in self.apis:
            api.close()

    def request(self, method, path, body=None, headers=None):
        end = time.monotonic() + self.patience
        while True:
            number = getattr(self.turn, "number", 0)
            try:
                answer = self.apis[number].request(method, path, body, headers)
                if answer.status < 500:
                    return answer
                why = f"{answer.status} {answer.text}"
            except (OSError, http.client.HTTPException) as failure:
                why = repr(failure)
            assert time.monotonic() < end, f"{method} {path}: nobody answered, the last: {why}"
            self.turn.number = (number + 1) % len(self.apis)
            time.sleep(self.REST_S)
