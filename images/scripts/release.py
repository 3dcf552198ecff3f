"""What a release is made of: its own file laid over what all releases have in common, and its image's root."""

import os
import pathlib
import tomllib

INPUTS = pathlib.Path(os.environ["INPUTS"])
# Where the image lies as far as it is made, which shares our /tmp.
IMAGE = pathlib.Path("/mnt/image")
# What a release's file may say of a service's namespaces.
DIFFERENCES = {"namespaces", "absent"}


def own(release):
    """What the release's file says."""
    return tomllib.loads((INPUTS / f"{release}.toml").read_text())


def services(release):
    """Each service with its option namespaces, databases and migrations in this release.

    A release adds `namespaces`, leaves out those that are `absent`, and replaces everything else that it names.
    """
    common = tomllib.loads((INPUTS / "services.toml").read_text())
    found = {}
    differences = own(release).get("services", {})
    for name, service in common["services"].items():
        differs = differences.pop(name, {})
        namespaces = {*common["shared"]["namespaces"], *service["namespaces"], *differs.get("namespaces", [])}
        absent = set(differs.get("absent", []))
        if absent - namespaces:
            raise SystemExit(f"releases/{release}.toml: {name} has no {', '.join(sorted(absent - namespaces))} to leave out")
        rest = {key: value for key, value in differs.items() if key not in DIFFERENCES}
        found[name] = {**service, **rest, "namespaces": sorted(namespaces - absent), "absent": sorted(absent)}
    if differences:
        raise SystemExit(f"releases/{release}.toml: recipes/services.toml has no service {', '.join(differences)}")
    return found


def inside(*command):
    """A command as it runs in the image, in /tmp."""
    return ("chroot", str(IMAGE), "env", "--chdir=/tmp", *command)
