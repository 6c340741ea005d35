"""Collects rows: no id twice, those that wait for a feature left out, and a count of what was shown."""

import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "peers"))

from harness import WANTED, Pairs  # noqa: E402  (the path above has to be there first)
from loaded import Loaded  # noqa: E402
from support import BINARY, without_excuse  # noqa: E402

NOT_YET = HERE / "not-yet.txt"
# Rows that a whole run has at least.
ROWS_MIN = 250


def pytest_generate_tests(metafunc):
    """One test a row of the module's ROWS."""
    if "row" in metafunc.fixturenames:
        rows = metafunc.module.ROWS
        metafunc.parametrize("row", rows, ids=[row.id for row in rows])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """No row is left out without an excuse."""
    return without_excuse((yield))


def not_yet():
    """Ids of the rows that wait for a feature of ours."""
    lines = (line.partition("#")[0].split() for line in NOT_YET.read_text().splitlines())
    return {words[0] for words in lines if words}


def everything():
    """Whether rows that wait are run too: when they are asked for, or where nothing of ours is judged."""
    return os.environ.get("COMPAT_NOT_YET") == "run" or WANTED == ("theirs",)


def pytest_collection_modifyitems(config, items):
    """Leaves out what waits, unless it is asked for; ids must be unique, and the list must name rows that are there."""
    rows = [(item.callspec.params["row"], item) for item in items if "row" in getattr(item, "fixturenames", ())]
    ids = [row.id for row, _ in rows]
    twice = {ident for ident in ids if ids.count(ident) > 1}
    if twice:
        raise pytest.UsageError(f"row ids that stand twice: {sorted(twice)}")
    for row, item in rows:
        item.user_properties.append(("kind", row.kind))
    listed = not_yet()
    whole = not config.option.keyword and all(pathlib.Path(word).is_dir() for word in config.args)
    if whole and (lost := sorted(listed - set(ids))):
        raise pytest.UsageError(f"{NOT_YET.name} names rows that are not there: {lost}")
    if whole and len(rows) < ROWS_MIN:
        raise pytest.UsageError(f"only {len(rows)} rows were collected, and a whole run has {ROWS_MIN} at least")
    if whole and listed and not everything():
        raise pytest.UsageError(f"a whole run leaves no row out, and {NOT_YET.name} names {sorted(listed)}")
    left_out = [] if everything() else [item for row, item in rows if row.id in listed]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter):
    """What was shown, and what was not."""
    kinds = [kind for report in terminalreporter.stats.get("passed", ()) for name,
        kind in report.user_properties if name == "kind"]
    terminalreporter.write_line(f"rows that hold: {kinds.count('SAME')} SAME, {kinds.count('BETTER')} BETTER, with {BINARY}")
    if not everything():
        terminalreporter.write_line(f"rows left out, because ours lacks what they need ({NOT_YET.name}): {len(not_yet())}")


def pytest_sessionfinish():
    """Nothing outlives the tests."""
    Loaded.end()


@pytest.fixture(scope="module")
def pairs():
    """The running servers of a module."""
    running = Pairs()
    yield running
    running.end()
