"""`crosspool plan` and `crosspool simulate` on documents that tests make."""
import json
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = pathlib.Path(os.environ.get("CROSSPOOL_BUILD", ROOT / "build" / "debug")) / "cli" / "crosspool"


class Tool:
    def __init__(self, folder):
        self.folder = folder

    def write(self, name, document):
        path = self.folder / name
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return path

    def run(self, command, inventory, request, *more):
        """(exit status, standard output, standard error)"""
        done = subprocess.run([PROGRAM, command, "--inventory", self.write("inventory.json", inventory),
                               "--request", self.write("request.json", request), *more],
                              capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stdout, done.stderr

    def plan(self, inventory, request):
        status, out, err = self.run("plan", inventory, request, "--json")
        assert status in (0, 1), err
        plan = json.loads(out)
        assert (status == 0) == (not plan["refused"] and not plan["problems"])
        return plan

    def simulate(self, inventory, request, *more):
        status, out, err = self.run("simulate", inventory, request, "--json", *more)
        assert status in (0, 1), err
        return json.loads(out)

    def refuses(self, inventory, request, text):
        status, out, err = self.run("plan", inventory, request)
        assert (status, out) == (2, ""), err
        assert text in err, err


@pytest.fixture
def tool(tmp_path):
    return Tool(tmp_path)
