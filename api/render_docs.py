#!/usr/bin/env python3
"""Renders api/openapi.yaml as one page of HTML without scripts, and that page as C, which the
coordinator serves at /docs.    render_docs.py openapi.yaml docs.html docs_page.c"""
import base64
import hashlib
import html
import json
import pathlib
import re
import sys

import yaml

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1rem 1.5rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
pre { background: var(--soft); overflow-x: auto; padding: .6rem; }
table { border-collapse: collapse; margin: .5rem 0; width: 100%; }
td, th { border-bottom: 1px solid var(--line); padding: .25rem .6rem .25rem 0; text-align: left;
         vertical-align: top; }
h2 { border-bottom: 2px solid var(--line); margin-top: 3rem; }
h3 { margin-top: 2.5rem; }
nav ul { columns: 18rem; padding-left: 1rem; }
.method { display: inline-block; font-weight: bold; min-width: 4.2em; }
.needed::after { content: " *"; color: #c33; }
"""
METHODS = ("get", "post", "put", "patch", "delete")


def escape(text):
    return html.escape(str(text), quote=True)


def inline(text):
    """`code` and **strong**; all else as it stands."""
    parts = re.split(r"`([^`]*)`", str(text))
    return "".join(f"<code>{escape(part)}</code>" if i % 2 else
                   re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", escape(part))
                   for i, part in enumerate(parts))


def paragraphs(text):
    return "".join(f"<p>{inline(part.strip())}</p>" for part in
                   re.split(r"\n\s*\n", str(text or "").strip()) if part.strip())


def table(head, rows):
    if not rows:
        return ""
    return ("<table><tr>" + "".join(f"<th>{word}</th>" for word in head) + "</tr>" +
            "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>"
                    for row in rows) + "</table>")


class Renderer:
    def __init__(self, document):
        self.document = document

    def resolve(self, node):
        if "$ref" not in node:
            return node
        found = self.document
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return {**found, **{key: value for key, value in node.items() if key != "$ref"}}

    # ---- schemas
    def kind(self, schema):
        """The type as one phrase, with links to schemas of their own."""
        if "$ref" in schema:
            name = schema["$ref"].rsplit("/", 1)[1]
            return f'<a href="#schema-{name}">{name}</a>'
        for word in ("oneOf", "anyOf"):
            if word in schema and "type" not in schema:
                return " or ".join(self.kind(option) for option in schema[word])
        if "const" in schema:
            return f"<code>{escape(json.dumps(schema['const']))}</code>"
        names = schema.get("type", "any value")
        names = names if isinstance(names, list) else [names]
        return " or ".join(self.one_kind(schema, name) for name in names) + self.limits(schema)

    def one_kind(self, schema, name):
        if name == "array":
            return "array of " + self.kind(schema.get("items", {}))
        more = schema.get("additionalProperties")
        if name == "object" and isinstance(more, dict):
            return "map to " + self.kind(more)
        return escape(schema.get("format", name) if name == "string" else name)

    @staticmethod
    def limits(schema):
        words = []
        if "enum" in schema:
            words.append("one of " + ", ".join(f"<code>{escape(word)}</code>"
                                               for word in schema["enum"]))
        for low, high, unit in (("minimum", "maximum", ""), ("minLength", "maxLength", " characters"),
                                ("minItems", "maxItems", " items")):
            if low in schema or high in schema:
                words.append(f"{schema.get(low, '')} to {schema.get(high, '')}{unit}".strip())
        if "pattern" in schema:
            words.append(f"<code>{escape(schema['pattern'])}</code>")
        if "default" in schema:
            words.append(f"default <code>{escape(json.dumps(schema['default']))}</code>")
        return (", " + ", ".join(words)) if words else ""

    def members(self, schema, prefix=""):
        rows = []
        for name, member in schema.get("properties", {}).items():
            is_needed = name in schema.get("required", [])
            label = f'<code{" class=needed" if is_needed else ""}>{escape(prefix + name)}</code>'
            rows.append((label, self.kind(member), inline(member.get("description", ""))))
            if "$ref" not in member:
                rows += self.members(member, f"{prefix}{name}.")
                items = member.get("items", {})
                rows += self.members(items, f"{prefix}{name}[].") if "$ref" not in items else []
        return rows

    def schema(self, name, schema):
        rows = self.members(schema)
        return (f'<h3 id="schema-{name}">{name}</h3>' + paragraphs(schema.get("description")) +
                (table(("member", "type", ""), rows) or f"<p>{self.kind(schema)}</p>"))

    # ---- operations
    def body(self, node):
        out = ""
        for content_type, content in node.get("content", {}).items():
            out += f"<p><code>{escape(content_type)}</code>: {self.kind(content['schema'])}</p>"
            if "example" in content:
                text = json.dumps(content["example"], indent=2, ensure_ascii=False)
                out += f"<pre>{escape(text)}</pre>"
        return out

    def parameters(self, operation):
        rows = []
        for parameter in map(self.resolve, operation.get("parameters", [])):
            is_needed = parameter.get("required", False)
            rows.append((f'<code{" class=needed" if is_needed else ""}>'
                         f'{escape(parameter["name"])}</code>', parameter["in"],
                         self.kind(parameter["schema"]), inline(parameter.get("description", ""))))
        return table(("parameter", "in", "type", ""), rows)

    def responses(self, operation):
        rows = []
        for status, node in operation["responses"].items():
            response = self.resolve(node)
            headers = ", ".join(f"<code>{escape(name)}</code>" for name in response.get("headers", {}))
            kinds = "<br>".join(self.kind(content["schema"])
                                for content in response.get("content", {}).values())
            rows.append((escape(status), inline(response["description"]), kinds, headers))
        out = table(("status", "", "body", "headers"), rows)
        for status, node in operation["responses"].items():
            if "$ref" not in node and any("example" in content
                                          for content in node.get("content", {}).values()):
                out += f"<h4>Example, {escape(status)}</h4>" + self.body(node)
        return out

    def operation(self, method, path, operation):
        out = (f'<h3 id="{operation["operationId"]}"><code><span class=method>{method.upper()}'
               f"</span>{escape(path)}</code></h3><p><strong>{inline(operation['summary'])}</strong>"
               f"</p>" + paragraphs(operation.get("description")) + self.parameters(operation))
        if "requestBody" in operation:
            out += "<h4>Body</h4>" + self.body(self.resolve(operation["requestBody"]))
        return out + self.responses(operation)

    def operations(self, tag):
        return [(method, path, methods[method]) for path, methods in self.document["paths"].items()
                for method in METHODS if method in methods and tag in methods[method]["tags"]]

    def page(self):
        info, tags = self.document["info"], self.document["tags"]
        schemas = self.document["components"]["schemas"]
        contents, main = "", ""
        for tag in tags:
            found = self.operations(tag["name"])
            contents += (f"<h4>{escape(tag['name'])}</h4><ul>" + "".join(
                f'<li><a href="#{one["operationId"]}">{inline(one["summary"])}</a></li>'
                for _, _, one in found) + "</ul>")
            main += f"<h2>{escape(tag['name'])}</h2>" + paragraphs(tag["description"]) + "".join(
                self.operation(*one) for one in found)
        main += "<h2>schemas</h2>" + "".join(self.schema(*one) for one in schemas.items())
        return (f"<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8><meta name=viewport "
                f'content="width=device-width"><title>{escape(info["title"])} API</title>'
                f"<style>{STYLE}</style></head><body><h1>{escape(info['title'])} API "
                f"{escape(info['version'])}</h1><p>The contract itself: "
                f'<a href="openapi.yaml">openapi.yaml</a>. A star marks what must be there.</p>'
                f"{paragraphs(info['description'])}<nav>{contents}</nav>{main}</body></html>\n")


def as_c(page):
    """Lines of a string literal, short enough for every compiler."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; " \
             "frame-ancestors 'none'"
    data = page.encode()
    lines = "".join('    "' + "".join(f"\\{byte:03o}" if byte in b'\\"?' or not 32 <= byte < 127
                                      else chr(byte) for byte in data[at:at + 90]) + '"\n'
                    for at in range(0, len(data), 90))
    return (f'#include "coordinator/api/docs_page.h"\n\nconst char docs_policy[] =\n    "{policy}";\n'
            f"const char docs_page[] =\n{lines};\n")


def main():
    contract, page_path, c_path = map(pathlib.Path, sys.argv[1:])
    page = Renderer(yaml.safe_load(contract.read_text())).page()
    page_path.write_text(page)
    c_path.write_text(as_c(page))


if __name__ == "__main__":
    main()
