#!/usr/bin/python3
"""Lock what Python packages a release's image holds, or `build-tools`, with hashes, into /out/<lock>.

Arguments: the release, its lock's name. $INPUTS holds the release's file, the lock as it was and, if someone gave it,
`constraints.txt`: the upper constraints of the release. Without it what was locked stays as it was wherever it may.
"""

import os
import pathlib
import re
import subprocess
import sys

import release

TOOLS = release.INPUTS / "build-tools.txt"
UV = "/tmp/tools/bin/uv"


def name(requirement):
    """The package that a requirement or a line of constraints is about, as PyPI normalizes names."""
    found = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", requirement)
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else None


def limits(own):
    """The upper constraints without those of packages that the release's file bounds itself, and its pins."""
    pins = own.get("pins", [])
    bounded = {name(line) for line in [*pins, *own["requirements"]] if re.search("[<>=]", line)}
    given = release.INPUTS / "constraints.txt"
    lines = given.read_text().replace("===", "==").splitlines() if given.exists() else []
    return [line for line in lines if name(line) not in bounded] + pins


def main(what, lock):
    subprocess.run(
        ["python3", "-m", "pip", "install", "--quiet", "--root-user-action", "ignore", "--no-deps", "--require-hashes", "--target", "/tmp/tools", "-r", TOOLS],
        check=True,
    )
    # Some source distributions tell their dependencies only when built.
    build = [line for line in (release.INPUTS / "build-tools.in").read_text().splitlines() if line.startswith("setuptools")]
    command = [
        UV, "--no-config", "--no-progress", "pip", "compile", "--quiet", "--no-python-downloads", "--generate-hashes",
        "--no-emit-index-url", "--no-annotate", "--no-header", "--output-file", f"/out/{lock}",
    ]
    if what == "build-tools":
        wanted, bounds = (release.INPUTS / "build-tools.in").read_text().splitlines(), []
    else:
        own = release.own(what)
        wanted, bounds = own["requirements"], limits(own)
        command += ["--python", f"/usr/bin/python{own['python']}", "--exclude-newer", f"{own['date']}T00:00:00Z"]
    for file, lines in {"wanted.in": wanted, "limits": bounds, "build-constraints": build}.items():
        pathlib.Path("/tmp", file).write_text("".join(f"{line}\n" for line in lines))
    # What is in the output file before is preferred where nothing speaks against it.
    before = release.INPUTS / lock
    if before.exists() and not (release.INPUTS / "constraints.txt").exists():
        pathlib.Path("/out", lock).write_text(before.read_text())
    os.environ["PYTHONPATH"] = "/tmp/tools"
    subprocess.run([*command, "--constraints", "/tmp/limits", "--build-constraints", "/tmp/build-constraints", "/tmp/wanted.in"], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
