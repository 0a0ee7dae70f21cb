"""`shopwright backup|restore|drill`: a shop in one file, put back, and the proof that it can be."""

from __future__ import annotations

import json as json_format
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.contracts.errors import ShopwrightError
from serving.cli.output import (
    JsonOption,
    Steps,
    print_json,
    print_line,
    print_table,
    steps,
)
from serving.cli.shop import Shop

if TYPE_CHECKING:
    from serving.backup.service import BackupReport

File = Annotated[Path, typer.Argument(metavar="FILE", help="The backup, a tar file")]
_PART = 4_000  # of what a failed check says


def backup(file: File, json: JsonOption = False) -> None:
    """Write the database and the state folder to a file.

    Servers go on; imports and materializations wait."""
    from serving.backup.service import write_backup

    shop = Shop()
    with steps(1) as progress:
        progress.say("copying the database and the state folder")
        report = write_backup(shop.settings, shop.engine, file, shop.system_clock.now())
        progress.done()
    if json:
        print_json(vars(report))
        return
    print_line(
        f"{report.file}: {report.n_files:,} files of a shop on {report.engine}, "
        f"{report.n_bytes:,} bytes"
    )
    print_line("It holds keys and secrets: keep it where nobody else can read it")


def restore(file: File, json: JsonOption = False) -> None:
    """Restore a backup into an empty SHOPWRIGHT_HOME, and an empty SHOPWRIGHT_DATABASE_URL.

    Every file is checked by its digest before anything is put in its place."""
    from features.database import engine as open_engine
    from serving.backup.service import restore_backup

    shop = Shop()
    with steps(1) as progress:
        progress.say("checking and restoring")
        report = restore_backup(shop.settings, open_engine(shop.settings), file)
        progress.done()
    if json:
        print_json(vars(report))
        return
    print_line(
        f"{report.home}: {report.n_files:,} files of a shop on {report.engine}, as it was at "
        f"{report.made_at}"
    )
    print_line("Next: shopwright doctor")


def drill(json: JsonOption = False) -> None:
    """Prove that a backup can be restored: make one, restore it into a place of its own, and let
    doctor check what came back. The shop is not changed."""
    shop = Shop()
    place = shop.settings.home.absolute().parent
    with (
        tempfile.TemporaryDirectory(dir=place, prefix=".drill-") as temporary,
        _open_empty_database(shop) as url,
        steps(3) as progress,
    ):
        home, file = Path(temporary) / "home", Path(temporary) / "backup.tar"
        report = _back_up_and_restore(shop, file, home, url, progress)
        progress.say("checking what came back")
        checks = _compare_checks(
            _run_doctor(shop.settings.home.absolute(), shop.settings.database_url),
            _run_doctor(home, url),
        )
        progress.done()
    passed = all(check["restored"] for check in checks if check["shop"])
    if json:
        sizes = {"files": report.n_files, "bytes": report.n_bytes}
        print_json({"passed": passed, **sizes, "checks": checks})
    else:
        rows = [
            (check["check"], _name(check["shop"]), _name(check["restored"]), check["says"])
            for check in checks
        ]
        print_table("Checks of the restored shop", ("check", "shop", "restored", ""), rows)
        print_line(
            f"{report.n_files:,} files, {report.n_bytes:,} bytes: "
            + ("the backup can be restored" if passed else "the backup cannot be restored")
        )
    if not passed:
        raise typer.Exit(1)


def _back_up_and_restore(
    shop: Shop, file: Path, home: Path, url: str | None, progress: Steps
) -> BackupReport:
    from features.database import engine as open_engine
    from serving.backup.service import restore_backup, write_backup

    progress.say("making a backup")
    report = write_backup(shop.settings, shop.engine, file, shop.system_clock.now())
    progress.done()
    progress.say("restoring it")
    settings = shop.settings.model_copy(update={"home": home, "database_url": url})
    opened = open_engine(settings)
    try:
        restore_backup(settings, opened, file)
    finally:
        opened.dispose()
    progress.done()
    return report


@contextmanager
def _open_empty_database(shop: Shop) -> Iterator[str | None]:
    """Yield the URL of an empty schema beside the shop's, which is dropped; None of SQLite."""
    import sqlalchemy as sa

    if shop.engine.dialect.name != "postgresql":
        yield None
        return
    schema = f"shopwright_drill_{uuid.uuid4().hex[:12]}"
    with shop.engine.begin() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {schema}"))
    try:
        url = shop.engine.url.update_query_dict({"options": f"-csearch_path={schema}"})
        yield url.render_as_string(hide_password=False)
    finally:
        with shop.engine.begin() as connection:
            connection.execute(sa.text(f"DROP SCHEMA {schema} CASCADE"))


def _run_doctor(home: Path, url: str | None) -> dict[str, tuple[bool, str]]:
    """Return whether each check of a shop passes, and what it says."""
    environment = os.environ | {"SHOPWRIGHT_HOME": str(home)}
    environment.pop("SHOPWRIGHT_DATABASE_URL", None)  # the shop's, and not that of the copy
    if url is not None:
        environment["SHOPWRIGHT_DATABASE_URL"] = url
    command = [sys.executable, "-m", "serving.cli.main", "doctor", "--json"]
    done = subprocess.run(  # noqa: S603
        command, env=environment, capture_output=True, text=True, check=False
    )
    try:
        checks = json_format.loads(done.stdout)["checks"]
    except (ValueError, KeyError) as error:
        raise ShopwrightError("doctor did not answer", hint=done.stderr[-_PART:]) from error
    return {check["check"]: (check["ok"], check["says"]) for check in checks}


def _compare_checks(
    shop: dict[str, tuple[bool, str]], restored: dict[str, tuple[bool, str]]
) -> list[dict[str, object]]:
    return [
        {"check": name, "shop": shop[name][0], "restored": passes, "says": says}
        for name, (passes, says) in restored.items()
    ]


def _name(passes: object) -> str:
    return "ok" if passes else "FAILED"
