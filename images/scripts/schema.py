#!/usr/bin/python3
"""Run every service's real migrations on a throw-away MariaDB and keep what they made, to be loaded by new clouds. Argument: the
release.

Writes /usr/share/oaas/schema/<database>.sql.zst and index.json:
{"<database>": {"heads": [...], "table": "alembic_version", "sha256": "...", "mariadb": "..."}}.
The services are those of the image as far as it is made, the database server is that of its own image, at /mnt/mariadb; both share
our /tmp.
"""

import ast
import concurrent.futures
import hashlib
import itertools
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import uuid

import release

OUT = pathlib.Path("/usr/share/oaas/schema")
WORK = pathlib.Path("/tmp/schema")
SOCKET = "/tmp/schema/mysqld.sock"
TABLE = "alembic_version"
# What clouds create their databases with. Migrations say `utf8`, which the server takes for this as long as no old mode says
# otherwise; in `utf8mb3` a name with a character of four bytes is an internal error.
CHARSET, COLLATION = "utf8mb4", "utf8mb4_uca1400_ai_ci"
# Cells as templates: nova fills in the parts of its own [database]/connection and transport_url.
CELL_DATABASE = "{scheme}://{username}:{password}@{hostname}:{port}/%s?{query}"
CELL_BUS = "{scheme}://{username}:{password}@{hostname}:{port}/{path}?{query}"
CELL1 = str(uuid.uuid5(uuid.NAMESPACE_DNS, "cell1.oaas.dev"))
# The services whose migrations take longest.
LONGEST = ["nova", "neutron", "cinder", "keystone", "heat"]
# Lines of a table's definition whose order means nothing.
KINDS = ("  KEY ", "  UNIQUE KEY ", "  CONSTRAINT ")
# Rows that migrations give random identifiers: (table, column, what tells its rows apart, columns that refer to it).
RANDOM = {
    "neutron": [("securitygroupdefaultrules", "id", "standard_attr_id", [])],
    "cinder": [("volume_types", "id", "name", []), ("group_types", "id", "name", [("group_type_specs", "group_type_id")])],
}
# When every row was made, so that dumps repeat.
WHEN = "2026-01-01 00:00:00"


def run(*command, **options):
    """Run a program; its output goes into the error if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


def service(*command):
    """Run a program of the image; it works in our directory."""
    return run("chroot", str(release.IMAGE), "env", f"--chdir={WORK}", *command)


def server(*command):
    return ("chroot", "/mnt/mariadb", *command)


def sql(statement, database=""):
    """The rows of a statement, tab-separated."""
    return run(*server("mariadb", "--no-defaults", f"--socket={SOCKET}", "--batch", "--skip-column-names", "--execute", statement, *([database] if database else [])))


def start_server():
    # The server refuses to run as root unless told to; nothing outside this sandbox reaches it.
    run(*server("mariadb-install-db", "--no-defaults", "--datadir=/tmp/schema/data", "--user=root", "--skip-test-db", "--auth-root-authentication-method=normal"))
    process = subprocess.Popen(
        server(
            "mariadbd", "--no-defaults", "--user=root", "--datadir=/tmp/schema/data", f"--socket={SOCKET}", "--skip-networking",
            "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--innodb-log-file-size=64M",
            f"--character-set-server={CHARSET}", f"--collation-server={COLLATION}", "--old-mode=", "--pid-file=/tmp/schema/pid",
        ),
        stdout=subprocess.DEVNULL,
        stderr=open(WORK / "mariadbd.log", "w"),
    )
    for _ in range(300):
        if process.poll() is not None:
            raise SystemExit("mariadbd did not start:\n" + (WORK / "mariadbd.log").read_text()[-4000:])
        if os.path.exists(SOCKET):
            return process
        time.sleep(0.1)
    raise SystemExit("mariadbd did not open its socket within 30 s")


def config(file, sections):
    """An oslo.config file."""
    path = WORK / file
    text = "".join(f"[{section}]\n" + "".join(f"{k} = {v}\n" for k, v in options.items()) for section, options in sections.items())
    path.write_text(text)
    return str(path)


def url(database):
    return f"mysql+pymysql://root@localhost:3306/{database}?charset={CHARSET}&unix_socket={SOCKET}"


def plain(made_of):
    """A service whose migrations are one command."""
    (database,), (program, *command) = made_of["databases"], made_of["sync"]
    section = made_of.get("connection", "database")
    file = config(f"{database}.conf", {section: {"connection": url(database)}, "DEFAULT": {"use_stderr": "true"}})
    service(f"/opt/openstack/bin/{program}", "--config-file", file, *command)


def nova():
    """The API database with its cells, then the two cells' databases."""
    main = config("nova.conf", {"api_database": {"connection": url("nova_api")}, "database": {"connection": url("nova")}, "DEFAULT": {"transport_url": "rabbit://build:build@localhost:5672/"}})
    cell0 = config("nova_cell0.conf", {"api_database": {"connection": url("nova_api")}, "database": {"connection": url("nova_cell0")}})
    manage = "/opt/openstack/bin/nova-manage"
    with concurrent.futures.ThreadPoolExecutor() as pool:
        jobs = [
            pool.submit(service, manage, "--config-file", main, "api_db", "sync"),
            pool.submit(service, manage, "--config-file", main, "db", "sync", "--local_cell"),
            pool.submit(service, manage, "--config-file", cell0, "db", "sync", "--local_cell"),
        ]
        for job in jobs:
            job.result()
    service(manage, "--config-file", main, "cell_v2", "map_cell0", "--database_connection", CELL_DATABASE % "nova_cell0")
    service(manage, "--config-file", main, "cell_v2", "create_cell", "--name", "cell1", "--database_connection", CELL_DATABASE % "nova", "--transport-url", CELL_BUS)
    sql(f"update cell_mappings set uuid = '{CELL1}' where name = 'cell1'", "nova_api")
    check_cells(manage)


def check_cells(manage):
    """A nova with any configuration must find its own database and bus in the stored cells."""
    probe = config(
        "probe.conf",
        {
            "api_database": {"connection": url("nova_api")},
            "database": {"connection": "mysql+pymysql://nova_g1:pw@db.example:3306/nova?charset=utf8mb4&ssl_ca=/ca"},
            "DEFAULT": {"transport_url": "rabbit://nova_g1:pw2@mq.example:5671/nova?ssl=1"},
        },
    )
    told = service(manage, "--config-file", probe, "cell_v2", "list_cells", "--verbose")
    for wanted in (
        "mysql+pymysql://nova_g1:pw@db.example:3306/nova_cell0?charset=utf8mb4&ssl_ca=/ca",
        "mysql+pymysql://nova_g1:pw@db.example:3306/nova?charset=utf8mb4&ssl_ca=/ca",
        "rabbit://nova_g1:pw2@mq.example:5671/nova?ssl=1",
    ):
        if wanted not in re.sub(r"\s", "", told):
            raise SystemExit(f"the stored cells do not resolve to {wanted}:\n{told}")


def heads(below):
    """The revisions that the code wants: those in its migration scripts, below site-packages, that no other one follows or depends on.

    Read, not imported: two services in one process get into each other's configuration options.
    """
    (root,) = (release.IMAGE / "opt/openstack/lib").glob(f"python3*/site-packages/{below}")
    revisions, followed = set(), set()
    for file in root.glob("versions/**/*.py"):
        for node in ast.parse(file.read_text()).body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            names = {target.id for target in targets if isinstance(target, ast.Name)} & {"revision", "down_revision", "depends_on"}
            if names and (value := ast.literal_eval(node.value)):
                (revisions if "revision" in names else followed).update([value] if isinstance(value, str) else value)
    return sorted(revisions - followed)


def still(database):
    """Give every row the same time."""
    columns = sql(
        "select table_name, column_name from information_schema.columns join information_schema.tables using (table_schema, table_name)"
        f" where table_schema = '{database}' and table_type = 'BASE TABLE' and data_type in ('datetime', 'timestamp') order by 1, 2"
    )
    for line in columns.splitlines():
        table, column = line.split("\t")
        sql(f"update `{table}` set `{column}` = '{WHEN}' where `{column}` is not null", database)


def name(database):
    """Give rows with random identifiers the same ones each time."""
    for table, column, key, referring in RANDOM.get(database, []):
        for line in sql(f"select {column}, {key} from {table}", database).splitlines():
            old, row = line.split("\t")
            new = uuid.uuid5(uuid.NAMESPACE_DNS, f"{row}.{table}.{database}.oaas.dev")
            changes = [f"update {t} set {c} = '{new}' where {c} = '{old}'" for t, c in [(table, column), *referring]]
            sql("set foreign_key_checks = 0; " + "; ".join(changes), database)


def ordered(text):
    """The dump with each table's keys and constraints sorted: the migrations' libraries make them in random order."""
    lines = []
    for kind, group in itertools.groupby(text.splitlines(), lambda line: next((k for k in KINDS if line.startswith(k)), "")):
        group = list(group)
        if kind:
            ends = [line.endswith(",") for line in group]
            group = [line + ("," if comma else "") for line, comma in zip(sorted(line.removesuffix(",") for line in group), ends)]
        lines.extend(group)
    return "\n".join(lines) + "\n"


def dump(database, below, version):
    """Write one database's dump; hand back its entry of the index. `below` is where its migrations lie."""
    name(database)
    still(database)
    recorded = sorted(sql(f"select version_num from {TABLE}", database).split())
    if recorded != heads(below):
        raise SystemExit(f"database {database} is at {recorded}, its code wants {heads(below)}")
    text = subprocess.run(
        server(
            "mariadb-dump", "--no-defaults", f"--socket={SOCKET}", "--skip-dump-date", "--skip-comments", "--single-transaction", "--skip-lock-tables",
            "--no-tablespaces", "--order-by-primary", "--hex-blob", "--triggers", "--skip-add-locks", "--default-character-set=utf8mb4", database,
        ),
        check=True, stdout=subprocess.PIPE, text=True,
    ).stdout
    text = ordered(text).encode()
    path = OUT / f"{database}.sql.zst"
    subprocess.run(["zstd", "-q", "-f", "-19", "-o", path], input=text, check=True)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"heads": recorded, "table": TABLE, "sha256": digest, "mariadb": version, "charset": CHARSET, "collation": COLLATION, "bytes": len(text)}


def main(name):
    services = release.services(name)
    databases = {database: below for made_of in services.values() for database, below in made_of["databases"].items()}
    WORK.mkdir()
    process = start_server()
    try:
        for database in databases:
            sql(f"create database {database} character set {CHARSET} collate {COLLATION}")
        version = sql("select version()").split("-")[0].strip()
        # Two at a time: importing is the cost, and there are few cores. The longest first.
        order = sorted(services, key=lambda service: LONGEST.index(service) if service in LONGEST else len(LONGEST))
        with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
            jobs = [pool.submit(nova) if service == "nova" else pool.submit(plain, services[service]) for service in order]
            for job in jobs:
                job.result()
        index = {database: dump(database, databases[database], version) for database in sorted(databases)}
    finally:
        process.terminate()
        process.wait()
    (OUT / "index.json").write_text(json.dumps(index, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
