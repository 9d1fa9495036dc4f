"""`specie token`: tokens of the local issuer."""

import time
from pathlib import Path
from typing import Annotated

import typer

from service_kit.caller import SCOPES, SUBJECT_LENGTH_MAX, is_our_own, is_subject
from specie_cli.ending import EXIT_REFUSED, messages, tell_error
from specie_cli.stack.directory import write_whole
from specie_cli.stack.failure import StackError
from specie_cli.stack.issuer import TTL_SECONDS_MAX, Issuer


def token(
    subject: Annotated[str, typer.Option(help="Who it is for: the owner of wallets, or a program's name")],
    scope: Annotated[str, typer.Option(help='What it allows, for example "wallets.read transfers.write", or "admin"')],
    data_dir: Annotated[Path, typer.Option(help="The directory of the stack whose issuer it is")] = Path(".specie"),
    ttl: Annotated[int, typer.Option(min=1, help="How many seconds it lives, up to 86400")] = 3600,
    create_issuer: Annotated[
        bool, typer.Option("--create-issuer", help="Make a key and its key set, jwks.json, if there are none")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="Write it to this file instead of printing it")] = None,
    renew: Annotated[
        bool, typer.Option("--renew", help="Stay, and write a new one whenever half of its time is over")
    ] = False,
) -> None:
    """Prints a token of the local issuer, and nothing else."""
    console = messages()
    unknown = sorted(set(scope.split()) - SCOPES)
    if unknown:
        text = f"warning: Specie has no scope {', '.join(unknown)}; it has {', '.join(sorted(SCOPES))}"
        console.print(text, style="yellow")
    if not scope.split():
        console.print("warning: a token without a scope allows nothing", style="yellow")
    if ttl > TTL_SECONDS_MAX:
        text = f"warning: gateway and services refuse a token that lives longer than {TTL_SECONDS_MAX} s"
        console.print(text, style="yellow")
    if not is_subject(subject) or is_our_own(subject):
        tell_error(f"a subject has 1 to {SUBJECT_LENGTH_MAX} printable characters and is not system or system/...")
        raise typer.Exit(2)
    if renew and output is None:
        tell_error("--renew needs --output")
        raise typer.Exit(2)
    issuer = Issuer(data_dir)
    try:
        if create_issuer:
            issuer.make()
        minted = issuer.mint(subject, scope, ttl)
        if output is None:
            print(minted)
            return
        write_whole(output, minted + "\n")
        while renew:
            time.sleep(ttl / 2)
            write_whole(output, issuer.mint(subject, scope, ttl) + "\n")
    except (StackError, OSError) as error:
        tell_error(str(error))
        raise typer.Exit(EXIT_REFUSED) from None
