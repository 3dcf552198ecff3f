"""Programs that services call for some requests alone: are they in the image, and is none called that images/programs.toml leaves out?

Usage: programs.py IMAGE [PACKAGE...] <images/programs.toml   in IMAGE's root; each PACKAGE is a Python package, an importable name or a
directory, whose sources are looked through.
"""

import ast
import importlib.util
import os
import re
import shutil
import sys
import tomllib

# What oslo.concurrency's functions and their wrappers are called.
CALLS = {"execute", "_execute", "trycmd", "execute_root", "_execute_root"}
# Variables that hold a command line before it is run.
LINES = ("cmd", "command", "args")


def first_word(node):
    """The program that a call's arguments or a command line begin with, if it is written there."""
    if isinstance(node, (ast.List, ast.Tuple)) and node.elts:
        node = node.elts[0]
    if isinstance(node, ast.BinOp):
        return first_word(node.left)
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
        return node.value.split()[0]
    return None


def called(source):
    """Programs that a module's source names as what it runs."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            word = first_word(node.args[0]) if name in CALLS else None
        elif isinstance(node, ast.Assign) and isinstance(node.value, (ast.List, ast.Tuple)):
            names = [getattr(target, "id", "") for target in node.targets]
            word = first_word(node.value) if any(name.endswith(LINES) for name in names) else None
        else:
            word = None
        if word and re.fullmatch(r"[a-z][a-z0-9._-]*", os.path.basename(word)):
            yield os.path.basename(word)


def sources(package):
    """The files of a Python package, without its tests and what runs on Windows."""
    if not os.path.isdir(package):
        spec = importlib.util.find_spec(package)
        package = spec.submodule_search_locations[0]
    for folder, folders, files in os.walk(package):
        folders[:] = [name for name in folders if name not in ("tests", "windows")]
        yield from (os.path.join(folder, name) for name in files if name.endswith(".py"))


def main():
    image, packages = sys.argv[1], sys.argv[2:]
    listed = tomllib.loads(sys.stdin.read())
    here = [entry for entry in listed["here"] if entry["image"] == image]
    lacking = []
    for entry in here:
        found = os.path.exists(entry["program"]) if entry["program"].startswith("/") else shutil.which(entry["program"])
        if not found:
            lacking.append(f"{entry['program']} is not in the image {image}: {entry['for']}")
    known = {entry["program"] for entry in listed["here"]} | {name for entry in listed["absent"] for name in entry["programs"]}
    for package in packages:
        for path in sources(package):
            with open(path, encoding="utf-8") as file:
                words = set(called(file.read()))
            lacking += [f"{word} is run by {path} and not in images/programs.toml" for word in sorted(words - known)]
    for line in lacking:
        print(line)
    print(f"{len(here)} programs looked for")
    sys.exit(1 if lacking or not here else 0)


if __name__ == "__main__":
    main()
