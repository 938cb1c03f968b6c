"""The routes table as it stands in coordinator/api/routes.c."""
import re
from collections import namedtuple

from crosspool_test import shell

Route = namedtuple("Route", "method path access scope")
ROW = re.compile(r'\{"([A-Z]+)", "([^"]+)", ACCESS_([A-Z]+), \w+, SCOPE_([A-Z]+)[,}]')
TEXT = (shell.ROOT / "coordinator/api/routes.c").read_text()
ROUTES = [Route(*row) for row in ROW.findall(TEXT)]
ROLES = ("VIEWER", "OPERATOR", "ADMIN")
assert len(ROUTES) == TEXT.count("ACCESS_") > 25, "the table is not read whole"


def name(route):
    return f"{route.method} {route.path}"
