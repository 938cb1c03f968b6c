"""Requests made of the contract: by its schemas, and then changed so that they are wrong in one way or
another. The same seed makes the same requests."""
import json
import random
import string
import urllib.parse
import uuid

UNKNOWN = "11111111-2222-4333-8444-555555555555"
TIMES = ("2026-01-31T12:00:00Z", "2096-01-31T12:00:00.123+01:00", "2026-13-01T00:00:00Z",
         "yesterday", "2026-02-30T00:00:00Z", "0000-01-01T00:00:00Z")
# nothing that is listened on, or that leads out of this machine
URLS = ("http://127.0.0.1:9/hook", "https://127.0.0.1:9/", "ftp://x", "https://u:p@127.0.0.1/",
        "https://169.254.169.254/latest", "https://127.0.0.1:99999/", "//", "https://[::1", "a b")
TEXTS = ("", " ", "a", "A", "vm-a1", "lan-a", "x" * 129, "x" * 5000, "ä€😀", "' OR 1=1 --", "../..",
         "a/b~c", "\\", "\u0001", "{}", "null", "%s%n", "vlan:7", "running", "raw", "-1")
NUMBERS = (0, 1, -1, 2**31, 2**53, 2**63 - 1, -2**63, 2**63, 10**40, 1.5, 1e300)
CONTENT_TYPES = ("text/plain", "application/x-www-form-urlencoded", "application/jsonx", "", "x",
                 "application/json; charset=utf-8", "APPLICATION/JSON", "multipart/form-data")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "FOO")


class Request:
    def __init__(self, method, path, headers, body, caller):
        self.method, self.path, self.headers = method, path, headers
        self.body, self.caller = body, caller

    def __str__(self):
        return f"{self.method} {self.path} {self.headers} as {self.caller}: {self.body and self.body[:400]!r}"


class RequestMaker:
    """names: words that mean something in the database, by the path that they stand in."""

    def __init__(self, contract, seed, names, callers):
        self.contract, self.random = contract, random.Random(seed)
        self.names, self.callers = names, callers
        self.cursors, self.keys = ["x"], []
        # agents' polls wait when they are good, so there are few of them
        self.operations = [(method, path, operation)
                           for (method, path), operation in contract.operations.items()]
        self.weights = [0.05 if path == "/agent/v1/poll" else 1 for _, path, _ in self.operations]

    def chance(self, one_in):
        return self.random.randrange(one_in) == 0

    # ---- values by a schema
    def value(self, schema, depth=0):
        schema = self.contract.resolve(schema)
        for word in ("oneOf", "anyOf"):
            if word in schema and "type" not in schema:
                return self.value(self.random.choice(schema[word]), depth)
        if "enum" in schema or "const" in schema:
            return self.random.choice(schema.get("enum", [schema.get("const")]))
        kind = schema.get("type", "object")
        kind = self.random.choice(kind) if isinstance(kind, list) else kind
        return getattr(self, f"_{kind}")(schema, depth)

    def _object(self, schema, depth):
        made = {name: self.value(member, depth + 1)
                for name, member in schema.get("properties", {}).items()
                if name in schema.get("required", []) or self.chance(2)}
        more = schema.get("additionalProperties")
        if isinstance(more, dict):
            made.update({self.word(): self.value(more, depth + 1)
                         for _ in range(self.random.randrange(3))})
        return made

    def _array(self, schema, depth):
        most = min(3, schema.get("maxItems", 3))
        return [self.value(schema["items"], depth + 1)
                for _ in range(self.random.randrange(most + 1))]

    def _integer(self, schema, _):
        low, high = schema.get("minimum", 0), schema.get("maximum", 2**40)
        return self.random.choice((low, high, self.random.randint(low, high)))

    def _boolean(self, *_):
        return self.chance(2)

    def _null(self, *_):
        return None

    def _string(self, schema, _):
        if schema.get("format") == "uuid":
            return str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        if schema.get("format") == "date-time":
            return self.random.choice(TIMES[:2])
        if "receiver" in str(schema.get("description")) or schema.get("maxLength") == 2048:
            return self.random.choice(URLS)
        text = self.word()
        return (text * schema.get("minLength", 1))[:schema.get("maxLength", 128)]

    def word(self):
        if self.chance(2):
            return self.random.choice(sorted(sum(self.names.values(), [])))
        return "".join(self.random.choices(string.ascii_lowercase + string.digits, k=8))

    # ---- and against it
    def anything(self):
        return self.random.choice((
            None, True, [], {}, [[]], {"a": {"b": 1}}, self.random.choice(TEXTS),
            self.random.choice(NUMBERS), self.random.choice(TIMES), self.random.choice(URLS)))

    def spoil(self, value):
        """One place of the value is changed."""
        if isinstance(value, dict) and value and not self.chance(4):
            name = self.random.choice(sorted(value))
            return {**value, name: self.spoil(value[name])}
        if isinstance(value, list) and value and not self.chance(4):
            return [self.spoil(value[0]), *value[1:]]
        if isinstance(value, dict):
            name = self.random.choice(sorted(value)) if value and self.chance(2) else None
            if name:
                return {key: one for key, one in value.items() if key != name}
            return {**value, self.random.choice(TEXTS): self.anything()}
        return self.anything()

    def spoil_text(self, text):
        """What is no JSON any more, or too much of it."""
        middle = len(text) // 2
        return self.random.choice((
            lambda: text[:middle],
            lambda: text[:middle] + b"\xff\xfe" + text[middle:],
            lambda: text[:1] + b'"name": 1, "name": 2, ' + text[1:],
            lambda: b"[" * 5000 + b"]" * 5000,
            lambda: b'{"a":' * 40 + b"1" + b"}" * 40,
            lambda: text.replace(b"1", b"1" + b"0" * 400),
            lambda: text.replace(b"0", b"1e999"),
            lambda: text.replace(b'"', b'"\\ud800', 1),
            lambda: text.replace(b'"', b'"\\u0000', 3),
            lambda: b"\xef\xbb\xbf" + text,
            lambda: text + text,
            lambda: b"",
            lambda: b"null",
            lambda: b'{"name": "' + b"x" * (1100 * 1024 if self.chance(8) else 70000) + b'"}',
        ))()

    # ---- requests
    def segment(self, path):
        names = self.names.get(path) or self.names["/v1/pools/{id}"]
        if not self.chance(4):
            return self.random.choice(names)
        return urllib.parse.quote(self.random.choice((
            UNKNOWN, UNKNOWN.upper(), "no-such", "%ff", "\xff", "a\0b", "a/b", "x" * 129, "..", "",
            *TEXTS)), safe="%" if self.chance(3) else "")

    def target(self, path):
        while "{" in path:
            start, end = path.index("{"), path.index("}") + 1
            path = path[:start] + self.segment(path) + path[end:]
        return path

    def query(self, operation):
        pairs = []
        for parameter in map(self.contract.resolve, operation.get("parameters", [])):
            if parameter["in"] == "query" and self.chance(3):
                value = self.value(parameter["schema"])
                value = str(value).lower() if isinstance(value, bool) else str(value)
                if parameter["name"] == "cursor":
                    value = self.random.choice(self.cursors)
                if parameter["name"] == "fields":
                    value = self.random.choice(("id", "id,name", "name,state", value))
                pairs.append((parameter["name"], value))
        if self.chance(6):
            name = self.random.choice([pair[0] for pair in pairs] + ["limit", "x", "", "cursor"])
            pairs.append((name, self.random.choice((*TEXTS[:6], *TEXTS[8:], UNKNOWN, "\udcff"))))
        text = "&".join(f"{urllib.parse.quote(name, safe='')}="
                        f"{urllib.parse.quote(value, safe='', errors='surrogateescape')}"
                        for name, value in pairs)
        return f"?{text}" if text else ""

    def headers(self, method, has_body):
        headers = {}
        if has_body:
            headers["Content-Type"] = self.random.choice(CONTENT_TYPES) if self.chance(12) \
                else "application/json"
        if method == "POST" and self.chance(6):
            key = self.random.choice(self.keys) if self.keys and self.chance(2) else \
                str(self.random.getrandbits(60))
            self.keys = [*self.keys[-50:], key]
            headers["Idempotency-Key"] = "k" * 129 if self.chance(8) else key
        if self.chance(12):
            headers[self.random.choice(("If-Match", "If-None-Match"))] = self.random.choice(
                ('"x"', "*", 'W/"x", "y"', '"', "x"))
        if self.chance(20):
            headers["X-Request-Id"] = self.random.choice(("a" * 64, "a" * 65, "a b", "-"))
        if self.chance(300):
            headers["X-Long"] = "x" * 17000
        return headers

    def request(self):
        method, path, operation = self.random.choices(self.operations, self.weights)[0]
        is_agent = path.startswith("/agent/") and path != "/agent/v1/enrol"
        body = None
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            value = self.value(schema)
            for _ in range(self.random.choice((0, 0, 1, 1, 2))):
                value = self.spoil(value)
            body = json.dumps(value, ensure_ascii=self.chance(2)).encode("utf-8", "surrogatepass")
            if self.chance(6):
                body = self.spoil_text(body)
        target = self.target(path) + self.query(operation)
        if self.chance(15):
            method = self.random.choice(METHODS)
        headers = self.headers(method, body is not None)
        if path == "/v1/events":
            headers["Accept"] = "application/json"
        caller = "agent" if is_agent else "admin" if not self.chance(5) else \
            self.random.choice(sorted(self.callers))
        return Request(method, target, headers, body, caller)
