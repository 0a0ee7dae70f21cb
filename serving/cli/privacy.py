"""`shopwright privacy export|erase|consent`: what people may ask for about their data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.contracts.errors import BadInput
from features.contracts.texts import clean_text
from serving.cli.output import JsonOption, print_json, print_line, replacing
from serving.cli.shop import Shop

if TYPE_CHECKING:
    from serving.privacy.documents import ConsentResponse, ErasureResponse
    from serving.privacy.service import PrivacyService

app = typer.Typer(help="Export, erase, and the consent of shoppers", no_args_is_help=True)

User = Annotated[str, typer.Argument(metavar="USER", help="The user_id of the shop's events")]
_COUNTED = {
    "events": "events sent over HTTP",
    "imported_rows": "imported rows",
    "feature_rows": "rows of features",
    "exposures": "exposures of experiments",
    "slates": "slates, which stay without the id",
    "quarantined_rows": "quarantined rows",
    "rules": "rules about events",
    "statements": "statements of consent",
    "linked_ids": "visitors and sessions of this user alone",
}


@app.command()
def export(
    user: User,
    out: Annotated[Path | None, typer.Option(help="A file for the document")] = None,
    json: JsonOption = False,  # noqa: ARG001 (the document is JSON in any case)
) -> None:
    """Write all that is kept about a person, as one JSON document."""
    from serving.database.audit_log import OPERATOR

    document = _open(Shop()).export(OPERATOR, _read_id(user))
    if out is None:
        print_json(document.model_dump(mode="json"))
        return
    with replacing(out) as path:
        path.write_text(document.model_dump_json(indent=1) + "\n", encoding="utf-8")
    print_line(
        f"{out}: {len(document.events):,} events, {len(document.slates):,} slates and all else "
        f"that is kept; the audit log names the person as {document.consent.subject_id}"
    )


@app.command()
def erase(user: User, json: JsonOption = False) -> None:
    """Erase a person from events, tables, features, slates and exposures. This cannot be undone.

    After a failure run it again: it does what is left."""
    from serving.database.audit_log import OPERATOR

    service = _open(Shop())
    report = service.erase(OPERATOR, _read_id(user))
    log_emptied = service.empty_logs()
    if json:
        print_json(report.model_dump(mode="json") | {"log_emptied": log_emptied})
        return
    _print_erasure(report)
    if not log_emptied:
        print_line(
            "Somebody reads the database, so its log (shopwright.db-wal) still holds removed rows. "
            "Run this again: it empties the log"
        )


@app.command()
def consent(
    user: User,
    allowed: Annotated[
        bool | None,
        typer.Option("--allow/--refuse", help="What the person states now; without it: show"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say whether a person allows personalization, or show what is known of that."""
    from features.database import transaction
    from serving.database.audit_log import OPERATOR

    service, user_id = _open(Shop()), _read_id(user)
    if allowed is None:
        stated = service.read_consent(user_id)
    else:
        with transaction(service.engine) as connection:
            stated = service.state_consent(connection, OPERATOR, user_id, allowed=allowed)
    if json:
        print_json(stated.model_dump(mode="json"))
        return
    _print_consent(stated)


def _print_erasure(report: ErasureResponse) -> None:
    counts = report.model_dump()
    for name, words in _COUNTED.items():
        if counts[name]:
            print_line(f"{counts[name]:,} {words}")
    if not any(counts[name] for name in _COUNTED):
        print_line("Nothing was kept about this person")
    print_line(
        f"Erased at {report.erased_at.isoformat()}; the audit log names the person as "
        f"{report.subject_id}"
    )
    print_line("Not erased from: files outside of the state folder, and backups")


def _print_consent(stated: ConsentResponse) -> None:
    word = "allows" if stated.personalization_allowed else "does not allow"
    since = "by default" if stated.stated_at is None else f"since {stated.stated_at.isoformat()}"
    print_line(f"This person {word} personalization, {since}")
    if stated.erased:
        print_line("The person was erased, and has not consented anew")
    print_line(f"The audit log names the person as {stated.subject_id}")


def _read_id(text: str) -> str:
    """Return an id as imports store it."""
    cleaned = clean_text(text)
    if cleaned is None or "\x00" in cleaned:
        raise BadInput("an id is more than blanks, and has no NUL", where="USER")
    return cleaned


def _open(shop: Shop) -> PrivacyService:
    from features.facts.erased_ids import IdDigests
    from serving.privacy.service import PrivacyService

    shop.check_currencies()
    return PrivacyService(
        shop.settings, shop.engine, shop.clock, shop.system_clock, IdDigests(shop.settings)
    )
