"""Each SQL statement of the coordinator fits the migrated schema."""
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


def statements(path):
    for name, text in STATEMENT.findall(preprocessed(path)):
        yield name, "".join(LITERAL.findall(text)).replace('\\"', '"')


ALL = [(f"{path.parent.name}/{path.stem}.{name}", sql)
       for path in sources() for name, sql in statements(path)]


def test_the_statements_are_found():
    assert len(ALL) > 60
    assert all(sql.strip() for _, sql in ALL)


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.stem)
def test_statements_stand_in_named_constants(path):
    """So that the test below sees them all."""
    text = path.read_text()
    named = set(re.findall(r"\bdb_query\(\s*\w+,\s*([^,]+),", text))
    known = {name for name, _ in statements(path)} | {"sql", "sql_tables[i]", "statements[i]"}
    assert {word for word in named if word not in known} == set()


@pytest.mark.long
def test_each_statement_prepares(installed):
    wrong = []
    for number, (name, sql) in enumerate(ALL):
        try:
            installed.query(f"PREPARE s{number} AS {sql}")
        except AssertionError as failure:
            wrong.append(f"{name}: {failure}")
    assert not wrong, "\n".join(wrong)


def test_a_statement_that_does_not_fit_is_noticed(installed):
    with pytest.raises(AssertionError, match="no_such_column"):
        installed.query("PREPARE s AS SELECT no_such_column FROM migration")


def test_the_schema_files_are_numbered_without_gaps():
    numbers = [int(path.name[:4]) for path in
               sorted(pathlib.Path(shell.ROOT / "db/migrations").glob("*.sql"))]
    assert numbers == list(range(1, len(numbers) + 1))
