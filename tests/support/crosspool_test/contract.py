"""api/openapi.yaml: its operations, and a check of values against its schemas (the part of JSON
Schema that the contract uses)."""
import re

import yaml

from . import shell

TYPES = {"object": dict, "array": list, "string": str, "number": (int, float), "boolean": bool,
         "null": type(None)}
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
KNOWN = {"$ref", "type", "enum", "const", "format", "pattern", "minLength", "maxLength", "minimum",
         "maximum", "default", "description", "properties", "required", "additionalProperties",
         "items", "minItems", "maxItems", "oneOf", "anyOf"}


class Contract:
    def __init__(self):
        # the parser in C: the one in Python takes seconds, in each process of the tests
        self.document = yaml.load((shell.ROOT / "api" / "openapi.yaml").read_text(),
                                  Loader=yaml.CSafeLoader)
        self.operations = {
            (method.upper(), path): operation
            for path, methods in self.document["paths"].items()
            for method, operation in methods.items()}

    def resolve(self, node):
        if "$ref" not in node:
            return node
        found = self.document
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return found

    def response(self, method, path, status):
        return self.resolve(self.operations[method, path]["responses"][str(status)])

    def wrong(self, schema, value, where=""):
        """What is wrong with the value, as text; empty when it fits."""
        schema = self.resolve(schema)
        assert set(schema) <= KNOWN, f"the checker does not know {set(schema) - KNOWN}"
        if "oneOf" in schema:
            fits = [option for option in schema["oneOf"] if not self.wrong(option, value, where)]
            if len(fits) != 1:
                return [f"{where}: fits {len(fits)} of oneOf"]
        if "anyOf" in schema:
            return min((self.wrong(option, value, where) for option in schema["anyOf"]), key=len)
        found = self._wrong_type(schema, value, where) or self._wrong_value(schema, value, where)
        if isinstance(value, dict):
            found = found + self._wrong_members(schema, value, where)
        if isinstance(value, list):
            for index, item in enumerate(value):
                found = found + self.wrong(schema.get("items", {}), item, f"{where}/{index}")
            if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
                found = found + [f"{where}: too few or too many items"]
        return found

    @staticmethod
    def _wrong_type(schema, value, where):
        wanted = schema.get("type")
        if wanted is None:
            return []
        for name in [wanted] if isinstance(wanted, str) else wanted:
            if name == "integer":
                if isinstance(value, int) and not isinstance(value, bool):
                    return []
            elif isinstance(value, TYPES[name]):
                return []
        return [f"{where}: {value!r} is no {wanted}"]

    @staticmethod
    def _wrong_value(schema, value, where):
        if value not in schema.get("enum", [value]) or value != schema.get("const", value):
            return [f"{where}: {value!r} is none of those allowed"]
        if isinstance(value, int) and not \
                schema.get("minimum", value) <= value <= schema.get("maximum", value):
            return [f"{where}: {value} is out of range"]
        if not isinstance(value, str):
            return []
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            return [f"{where}: {value!r} is too short or too long"]
        if "pattern" in schema and not re.search(schema["pattern"], value):
            return [f"{where}: {value!r} does not match {schema['pattern']}"]
        if schema.get("format") == "uuid" and not UUID.fullmatch(value):
            return [f"{where}: {value!r} is no UUID"]
        if schema.get("format") == "date-time" and not re.fullmatch(
                r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", value):
            return [f"{where}: {value!r} is no RFC 3339 time"]
        return []

    def _wrong_members(self, schema, value, where):
        found = [f"{where}/{name}: missing" for name in schema.get("required", [])
                 if name not in value]
        more = schema.get("additionalProperties", True)
        for name, member in value.items():
            if name in schema.get("properties", {}):
                found += self.wrong(schema["properties"][name], member, f"{where}/{name}")
            elif more is False:
                found.append(f"{where}/{name}: not in the schema")
            elif isinstance(more, dict):
                found += self.wrong(more, member, f"{where}/{name}")
        return found
