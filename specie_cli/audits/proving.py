"""`specie audit checkpoint`, `prove`, `check` and `key`: what an auditor takes away, and looks at elsewhere."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import typer
from specie.transaction.v1 import (
    AuditServiceStub,
    Block,
    GetCheckpointRequest,
    GetInclusionProofRequest,
    ListSealKeysRequest,
)

from audit_chain import checkpoint as checkpoints
from audit_chain import proof as proofs
from audit_chain.document import Unreadable
from audit_chain.header import Header, MalformedHeader, parsed
from audit_chain.proof import Proof, Unproven
from audit_chain.seal import Seal
from specie_cli import show
from specie_cli.audits.files import replace, text_of, trusted_keys
from specie_cli.audits.recorded import facts_of
from specie_cli.audits.verifying import moment
from specie_cli.ending import Refused, messages, told
from specie_cli.gateway import CALL_TIMEOUT_SECONDS, DEFAULT_SERVER, Server, connection
from specie_cli.reports.output import flaw_of

UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
NAME_START: Final = "transactions/"

Output = Annotated[Path | None, typer.Option(help="Write it to this file instead of printing it")]
Force = Annotated[bool, typer.Option("--force", help="Replace the file if there is one")]


def checkpoint(output: Output = None, force: Force = False, server: Server = DEFAULT_SERVER) -> None:
    """Gets the latest block's seal. Whoever keeps it finds out when what was sealed before it is changed or cut off."""
    _check_output(output, force=force)
    with told(), connection(server) as channel:
        response = AuditServiceStub(channel).GetCheckpoint(GetCheckpointRequest(), timeout=CALL_TIMEOUT_SECONDS)
        _give(checkpoints.written(_seal(response.block)), output, f"block {response.block.number}")


def prove(
    transaction: Annotated[str, typer.Argument(help="Its name, transactions/...")],
    output: Output = None,
    force: Force = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Gets the proof that a transaction is as it was sealed. `specie audit check` needs it and a public key only."""
    _check_output(output, force=force)
    request = GetInclusionProofRequest(transaction=transaction)
    with told():
        with connection(server) as channel:
            found = AuditServiceStub(channel).GetInclusionProof(request, timeout=CALL_TIMEOUT_SECONDS).proof
        proof = Proof(found.record, found.index, tuple(found.path), _seal(found.block))
        try:
            record = proof.recorded(parsed(found.block.header))
        except (MalformedHeader, Unproven) as error:
            raise Refused(f"block {found.block.number} has no proof of {transaction} as it is now: {error}") from error
        if record.name != transaction:
            raise Refused(f"the service sent a proof of {record.name}")
        _give(proof.written(), output, f"{record.name} in block {found.block.number}")


def check(
    file: Annotated[Path, typer.Argument(help="What `specie audit prove` wrote")],
    public_key: Annotated[Path, typer.Option(help="The keys that are trusted, in PEM, one after the other")],
    max_age: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How long ago it may have been sealed: 90s, 15m, 12h, 30d")
    ] = None,
    transaction: Annotated[
        str | None, typer.Option(metavar="transactions/...", help="The transaction that it must prove")
    ] = None,
) -> None:
    """Checks a proof, without any network, and shows the transaction that it proves."""
    age_max = None if max_age is None else _duration(max_age)
    with told():
        keys = trusted_keys(public_key, Path())
        try:
            record, header = proofs.read(text_of(file)).checked(keys)
        except Unreadable as error:
            raise Refused(f"{file}: {error}") from error
        if transaction is not None and record.name != NAME_START + transaction.removeprefix(NAME_START):
            raise Refused(f"this is the proof of {record.name}, not of {transaction}")
        if age_max is not None:
            _check_age(header, age_max, max_age or "")
        print(f"This is {record.name} as it was sealed in block {header.number} at {moment(header.sealed)}.")
        show.as_facts(facts_of(record))


def key(server: Server = DEFAULT_SERVER) -> None:
    """Prints the public keys that the ledger says its blocks are signed with."""
    with told(), connection(server) as channel:
        response = AuditServiceStub(channel).ListSealKeys(ListSealKeysRequest(), timeout=CALL_TIMEOUT_SECONDS)
        console = messages()
        for found in response.keys:
            console.print(show.plain(f"{found.key_id}, used since {show.time(found.create_time)}"))
            print(*(show.plain(line).plain for line in found.public_key.splitlines()), sep="\n")
        console.print(
            "warning: this is what the ledger says, and whoever has changed it can say what he likes."
            " Get the keys in another way, and compare.",
            style="yellow",
        )


def _check_age(header: Header, age_max: timedelta, told_max: str) -> None:
    """Raises Refused."""
    age = datetime.now(UTC) - header.sealed
    if age > age_max:
        raise Refused(
            f"the proof has expired: it was sealed at {moment(header.sealed)}, more than {told_max} ago."
            " It still proves what was sealed then. Whether the ledger says the same now, `specie audit prove` and"
            " `specie audit verify` tell; a longer --max-age accepts it as it is."
        )


def _seal(block: Block) -> Seal:
    return Seal(block.header, block.signature)


def _check_output(output: Path | None, *, force: bool) -> None:
    """Raises typer.BadParameter."""
    if output is not None and (flaw := flaw_of(output, force=force)):
        raise typer.BadParameter(flaw, param_hint="--output")


def _give(text: str, output: Path | None, what: str) -> None:
    if output is None:
        print(text, end="")
        return
    replace(output, text)
    print(f"{output}: {what}")


def _duration(text: str) -> timedelta:
    """Raises typer.BadParameter."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is not a duration like 90s, 15m, 12h or 30d", param_hint="--max-age")
    return timedelta(**{UNITS[found[2]]: int(found[1])})
