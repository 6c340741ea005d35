"""Collects rows: no id twice, those that wait for a feature left out, and a count of what was shown."""

import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "peers"))

from harness import WANTED, Loaded, Pairs  # noqa: E402  (the path above has to be there first)
from support import BINARY  # noqa: E402

NOT_YET = HERE / "not-yet.txt"
shown = {"SAME": 0, "BETTER": 0}
waiting = []


def pytest_generate_tests(metafunc):
    """One test a row of the module's ROWS."""
    if "row" in metafunc.fixturenames:
        rows = metafunc.module.ROWS
        metafunc.parametrize("row", rows, ids=[row.id for row in rows])


def not_yet():
    """Ids of the rows that wait for a feature of ours, with the reason."""
    lines = (line.partition("#")[0].split(None, 1) for line in NOT_YET.read_text().splitlines())
    return {words[0]: words[-1] for words in lines if words}


def pytest_collection_modifyitems(config, items):
    """Leaves out what waits, unless it is asked for; ids must be unique, and the list must name rows that are there."""
    rows = [(item.callspec.params["row"], item) for item in items if "row" in getattr(item, "fixturenames", ())]
    ids = [row.id for row, _ in rows]
    twice = {ident for ident in ids if ids.count(ident) > 1}
    if twice:
        raise pytest.UsageError(f"row ids that stand twice: {sorted(twice)}")
    if os.environ.get("COMPAT_NOT_YET") == "run" or WANTED == ("theirs",):
        return
    listed = not_yet()
    narrowed = config.option.keyword or any("::" in word or word.endswith(".py") for word in config.args)
    if not narrowed and (lost := sorted(set(listed) - set(ids))):
        raise pytest.UsageError(f"{NOT_YET.name} names rows that are not there: {lost}")
    left_out = [item for row, item in rows if row.id in listed]
    if left_out:
        waiting.extend(row.id for row, _ in rows if row.id in listed)
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Counts the rows that hold."""
    outcome = yield
    if call.when == "call" and outcome.get_result().passed and "row" in getattr(item, "fixturenames", ()):
        shown[item.callspec.params["row"].kind] += 1


def pytest_terminal_summary(terminalreporter):
    """What was shown, and what was not."""
    terminalreporter.write_line(f"rows that hold: {shown['SAME']} SAME, {shown['BETTER']} BETTER, with {BINARY}")
    if waiting:
        terminalreporter.write_line(f"rows left out, because ours lacks the feature ({NOT_YET.name}): {len(waiting)}")


def pytest_sessionfinish():
    """Nothing outlives the tests."""
    Loaded.end()


@pytest.fixture(scope="module")
def pairs():
    """The running servers of a module."""
    running = Pairs()
    yield running
    running.end()
