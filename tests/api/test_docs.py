"""The contract as a page to read: whole, without anything from outside, under a strict policy."""
import base64
import hashlib
import html.parser
import re

from crosspool_test.contract import Contract

CONTRACT = Contract()


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.links = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        names = dict(attributes)
        assert not {name for name in names if name.startswith("on") or name in ("src", "style")}, tag
        self.ids += [names["id"]] if "id" in names else []
        self.links += [names["href"]] if "href" in names else []


def get(coordinator):
    answer = coordinator.api(None).request("GET", "/docs")
    assert answer.status == 200 and answer.headers["Content-Type"] == "text/html; charset=utf-8"
    return answer


def test_every_operation_and_schema_is_there(coordinator):
    page = Page(get(coordinator).text)
    wanted = {operation["operationId"] for operation in CONTRACT.operations.values()}
    wanted |= {f"schema-{name}" for name in CONTRACT.document["components"]["schemas"]}
    assert set(page.ids) == wanted and len(page.ids) == len(wanted)


def test_links_lead_somewhere_and_nothing_is_loaded(coordinator):
    page = Page(get(coordinator).text)
    assert {link for link in page.links if link.removeprefix("#") not in page.ids} == {"openapi.yaml"}
    assert not page.tags & {"script", "link", "img", "iframe", "object", "form"}


def test_the_policy_allows_its_own_style_alone(coordinator):
    answer = get(coordinator)
    policy = answer.headers["Content-Security-Policy"]
    style = re.search(r"<style>(.*?)</style>", answer.text, re.S).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert "unsafe" not in policy and "frame-ancestors 'none'" in policy


def test_a_parameter_is_refused(coordinator):
    answer = coordinator.api(None).request("GET", "/docs?x=1")
    assert answer.status == 400 and answer.json()["errors"][0]["parameter"] == "x"
