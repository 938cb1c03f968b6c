"""Each SQL statement of the coordinator fits the migrated schema."""
import functools
import pathlib
import re
import subprocess

import pytest

from crosspool_test import shell

FOLDERS = ["coordinator/store", "coordinator/security", "coordinator/scheduler", "coordinator/api"]
STATEMENT = re.compile(r'static const char\s+((?:sql_\w+|\w+_sql))\[\]\s*=\s*((?:"(?:[^"\\]|\\.)*"\s*)+);')
SHARED = (shell.ROOT / "coordinator/store/page_sql.h").read_text().replace("#pragma once", "")
LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')


def sources():
    return [path for folder in FOLDERS for path in sorted((shell.ROOT / folder).glob("*.c"))]


def preprocessed(path):
    """Macros shared by several statements are expanded; other includes are not needed for that."""
    own = SHARED + "\n".join(line for line in path.read_text().splitlines()
                             if not line.startswith("#include"))
    done = subprocess.run(["cc", "-E", "-P", "-x", "c", "-"], input=own, capture_output=True,
                          text=True, check=True)
    return done.stdout


@functools.cache
def statements(path):
    return [(name, "".join(LITERAL.findall(text)).replace('\\"', '"'))
            for name, text in STATEMENT.findall(preprocessed(path))]


def all_statements():
    return [(f"{path.parent.name}/{path.stem}.{name}", sql)
            for path in sources() for name, sql in statements(path)]


def test_the_statements_are_found():
    found = all_statements()
    assert len(found) > 60
    assert all(sql.strip() for _, sql in found)


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.stem)
def test_statements_stand_in_named_constants(path):
    """So that the test below sees them all."""
    text = path.read_text()
    named = set(re.findall(r"\bdb_(?:query|post|post_row)\(\s*\w+,\s*([^,]+),", text))
    known = {name for name, _ in statements(path)} | {"sql", "sql_tables[i]", "statements[i]"}
    assert {word for word in named if word not in known} == set()


def prepare(installed, statements_, directory):
    """[name: what PostgreSQL says] of those that it refuses; one line of a script is one of them."""
    script = directory / "statements.sql"
    script.write_text("".join(f"PREPARE s{number} AS {sql};\n"
                              for number, (_, sql) in enumerate(statements_)))
    done = subprocess.run([installed.postgres.binaries / "psql", "-X", "-q", "-f", script, "-d",
                           installed.configuration["database"]],
                          capture_output=True, text=True, check=True)
    return [f"{statements_[int(line) - 1][0]}: {text}" for line, text in
            re.findall(r"statements\.sql:(\d+): ERROR: +(.*)", done.stderr)]


def test_each_statement_prepares(installed, tmp_path):
    found = all_statements()
    assert all("\n" not in sql for _, sql in found)
    assert prepare(installed, found, tmp_path) == []


def test_a_statement_that_does_not_fit_is_noticed(installed, tmp_path):
    wrong, = prepare(installed, [("good", "SELECT id FROM migration"),
                                 ("bad", "SELECT no_such_column FROM migration")], tmp_path)
    assert wrong.startswith("bad: ") and "no_such_column" in wrong


def test_the_schema_files_are_numbered_without_gaps():
    numbers = [int(path.name[:4]) for path in
               sorted(pathlib.Path(shell.ROOT / "db/migrations").glob("*.sql"))]
    assert numbers == list(range(1, len(numbers) + 1))
