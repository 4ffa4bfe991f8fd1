"""Images of Debian's packages, where no registry can be reached: `python -m tests.containers.debian [base|postgres]`.

debootstrap makes the base (`wethink-base:bookworm`: Python 3.11 and pip); the database (`wethink-postgres:15`) is the
base with PostgreSQL and the entry script below, which understands what compose.yaml asks of the official image.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.containers.engine import LOGS, Engine, engine
from wethink.common.errors import UserError

BASE, POSTGRES = "wethink-base:bookworm", "wethink-postgres:15"
PACKAGES = "python3.11,python3.11-venv,python3-pip,ca-certificates"
DATABASE = f"""FROM {BASE}
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postgresql \\
 && rm -rf /var/lib/apt/lists/* && install --directory --owner=postgres --mode=700 /var/lib/postgresql/data
COPY entry /usr/local/bin/entry
USER postgres
ENV PATH=/usr/lib/postgresql/15/bin:$PATH PGDATA=/var/lib/postgresql/data
STOPSIGNAL SIGINT
ENTRYPOINT ["entry"]
"""
ENTRY = """#!/bin/bash
set -euo pipefail
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  : "${POSTGRES_PASSWORD:?set POSTGRES_PASSWORD}"
  initdb --username "$POSTGRES_USER" --encoding UTF8 --locale C.UTF-8 --auth scram-sha-256 \\
    --pwfile <(printf '%s' "$POSTGRES_PASSWORD") >/dev/null
  echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
  export PGUSER="$POSTGRES_USER" PGPASSWORD="$POSTGRES_PASSWORD" PGHOST=/tmp
  pg_ctl start --wait --options "-c listen_addresses= -c unix_socket_directories=/tmp" >/dev/null
  createdb "$POSTGRES_DB"
  for file in /docker-entrypoint-initdb.d/*.sql; do psql --quiet --dbname "$POSTGRES_DB" --file "$file"; done
  pg_ctl stop --wait --mode fast >/dev/null
fi
exec postgres -c listen_addresses='*'
"""


def missing() -> str:
    """Return what this machine lacks for making images of Debian's packages, or ''."""
    if os.geteuid() != 0:
        return "root is needed for debootstrap"
    return "" if shutil.which("debootstrap") else "debootstrap is missing (Debian: apt install debootstrap)"


def base(docker: Engine) -> str:
    """Make the base, unless it exists; return its name.

    Raises:
        UserError: this machine lacks something, or debootstrap failed.
    """
    if docker.has(BASE):
        return BASE
    if lacks := missing():
        raise UserError(f"{lacks}.")
    LOGS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="wethink-base-") as folder:
        root = Path(folder) / "root"
        with (LOGS / "debootstrap.log").open("w", encoding="utf-8") as log:
            command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(root)]
            if subprocess.run(command, stdout=log, stderr=log).returncode:
                raise UserError(f"debootstrap failed: see {log.name}; is Debian's mirror reachable?")
        for stale in (*root.glob("var/cache/apt/archives/*.deb"), *root.glob("var/lib/apt/lists/*_*")):
            stale.unlink()
        archive = Path(folder) / "root.tar"
        subprocess.run(["tar", "--create", "--file", str(archive), "--directory", str(root), "."], check=True)
        docker.run("import", "--change", 'CMD ["bash"]', str(archive), BASE)
    return BASE


def postgres(docker: Engine) -> str:
    """Make the database's image, unless it exists; return its name.

    Raises:
        UserError: this machine lacks something, or a step failed.
    """
    if docker.has(POSTGRES):
        return POSTGRES
    base(docker)
    with tempfile.TemporaryDirectory(prefix="wethink-postgres-") as folder:
        (Path(folder) / "Dockerfile").write_text(DATABASE, encoding="utf-8")
        (Path(folder) / "entry").write_text(ENTRY, encoding="utf-8")
        (Path(folder) / "entry").chmod(0o755)
        log = LOGS / "postgres-image.log"
        build = ["build", "--network", "host", "--tag", POSTGRES, folder]
        if docker.logged(log, build, DOCKER_BUILDKIT="0"):
            raise UserError(f"the database's image was not built; see {log}.")
    return POSTGRES


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.containers.debian", description="Images of Debian's packages."
    )
    parser.add_argument("image", nargs="?", choices=("base", "postgres"), default="postgres")
    args = parser.parse_args()
    try:
        with engine() as docker:
            print({"base": base, "postgres": postgres}[args.image](docker))
    except UserError as error:
        print(f"wethink containers: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
