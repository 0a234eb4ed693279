"""`python -m candlevault.local`: what the Makefile's targets call."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

import psycopg

from candlevault.errors import CandlevaultError, SetupError
from candlevault.local.postgres_programs import program_directory
from candlevault.local.system import LocalSystem, Status


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 if it worked. Errors for the user are one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m candlevault.local")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start the system and wait until it is healthy")
    up.add_argument("--foreground", action="store_true", help="stay; Ctrl-C stops the system")
    commands.add_parser("down", help="stop the system and everything it left behind")
    commands.add_parser("status", help="show the processes; exit code 1 unless all is well")
    logs = commands.add_parser("logs", help="show the end of the logs")
    logs.add_argument("services", nargs="*", help="only these (default: all)")
    logs.add_argument("--follow", action="store_true", help="go on until Ctrl-C")
    logs.add_argument("--lines", type=int, default=20)
    psql = commands.add_parser("psql", help="open psql on the market database")
    psql.add_argument("--sql", default="", help="run this statement instead")
    commands.add_parser("demo", help="the whole story, from nothing to a finished backtest")
    commands.add_parser("supervise", help="what `up` starts in the background")
    chosen = parser.parse_args(arguments)
    try:
        return _COMMANDS[chosen.command](chosen)
    except CandlevaultError as error:
        print(f"candlevault: {error}", file=sys.stderr)
        return 1
    except psycopg.Error as error:
        print(f"candlevault: the market database: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"candlevault: {error.strerror or error}: {error.filename or ''}", file=sys.stderr)
        return 1


def say(line: str) -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)


def _up(chosen: argparse.Namespace) -> int:
    system = LocalSystem.from_environment()
    if chosen.foreground:
        return system.run_in_foreground(_timed(say))
    started = time.monotonic()
    system.start(_timed(say))
    say(f"up after {time.monotonic() - started:.0f} s")
    say(f"  Airflow     {system.home.api_url}   (user: admin)")
    if system.credentials.fresh:
        say(f"  password    {system.credentials.admin_password}")
        say(f"              shown only now; it is kept in {system.admin_password_file}")
    else:
        say(f"  password    in {system.admin_password_file}")
    say(f"  exchange    {system.exchange.name}")
    say(f"  settings    . {system.home.env_file}")
    return 0


def _down(_: argparse.Namespace) -> int:
    LocalSystem.from_environment().stop(say)
    return 0


def _status(_: argparse.Namespace) -> int:
    system = LocalSystem.from_environment()
    status = system.status()
    say(f"{system.home.path}: {'up' if status.up else status.phase}")
    if status.error:
        say(f"last error: {status.error}")
    for line in _table(status):
        say(line)
    return 0 if status.up else 1


def _table(status: Status) -> list[str]:
    lines = [("process", "pid", "state", "restarts", "port", "health")]
    for row in status.rows:
        lines.append(
            (
                row.name,
                str(row.pid or "-"),
                row.state,
                str(row.restarts),
                str(row.port or "-"),
                row.health,
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(6)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def _logs(chosen: argparse.Namespace) -> int:
    system = LocalSystem.from_environment()
    files = [
        path
        for path in sorted(system.home.logs.glob("*.log"))
        if not chosen.services or path.stem in chosen.services
    ]
    if not files:
        raise SetupError(f"there are no logs in {system.home.logs}")
    command = ["tail", "-n", str(chosen.lines), *(["-F"] if chosen.follow else [])]
    return subprocess.call([*command, *map(str, files)])


def _psql(chosen: argparse.Namespace) -> int:
    system = LocalSystem.from_environment()
    psql = program_directory() / "psql"
    environment = {**os.environ, "PGDATABASE": "", "PGAPPNAME": "make psql"}
    environment |= _connection_variables(system)
    command = [str(psql), "--no-psqlrc" if chosen.sql else "--quiet"]
    if chosen.sql:
        command += ["--set", "ON_ERROR_STOP=1", "--command", chosen.sql]
    return subprocess.call(command, env=environment)


def _connection_variables(system: LocalSystem) -> dict[str, str]:
    """libpq's variables for the market database: a URL among the arguments shows in `ps`."""
    from psycopg.conninfo import conninfo_to_dict

    parts = conninfo_to_dict(system.db_url)
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD"}
    found = {variable: str(parts[name]) for name, variable in names.items()}
    return {**found, "PGDATABASE": str(parts["dbname"])}


def _demo(_: argparse.Namespace) -> int:
    from candlevault.local import demo

    return demo.main()


def _supervise(_: argparse.Namespace) -> int:
    return LocalSystem.from_environment().run_in_foreground(_stamped)


def _stamped(line: str) -> None:
    say(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {line}")


def _timed(progress):
    """`progress` with the seconds since now before each line."""
    started = time.monotonic()
    return lambda line: progress(f"{time.monotonic() - started:5.1f} s  {line}")


_COMMANDS = {
    "up": _up,
    "down": _down,
    "status": _status,
    "logs": _logs,
    "psql": _psql,
    "demo": _demo,
    "supervise": _supervise,
}

if __name__ == "__main__":
    sys.exit(main())
