#!/usr/bin/python3
"""The option catalog of every service of a release: /usr/share/oaas/options/<service>.json. Argument: the release.

Each service is described in a process of its own, by the release's Python (describe.py): loading one service changes the
defaults that shared libraries announce.
"""

import pathlib
import shutil
import subprocess
import sys

import release

OUT = pathlib.Path("/usr/share/oaas/options")


def main(name):
    shutil.copy(release.INPUTS / "describe.py", "/tmp/describe.py")
    for service, made_of in release.services(name).items():
        command = ["/opt/openstack/bin/python", "/tmp/describe.py", name, service, *made_of["namespaces"]]
        command += [f"-{namespace}" for namespace in made_of["absent"]]
        done = subprocess.run(release.inside(*command), capture_output=True)
        if done.returncode:
            raise SystemExit(f"the options of {service}:\n{done.stderr.decode()[-4000:]}")
        (OUT / f"{service}.json").write_bytes(done.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
