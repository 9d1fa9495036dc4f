"""`specie up`: the local stack in the foreground."""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from specie_cli.gateway import DEFAULT_SERVER
from specie_cli.stack import ports
from specie_cli.stack.directory import DataDirectory, write_ready_file
from specie_cli.stack.failure import StackError
from specie_cli.stack.issuer import TTL_SECONDS_MAX
from specie_cli.stack.local import GatewayWish, LocalStack, OutsideWish
from specie_cli.stack.origin import origin
from specie_cli.stack.subject_limits import USUAL, Allowance, SubjectLimits, named_allowance

OptionalPort = Annotated[int | None, typer.Option(min=1, max=ports.LAST, help="Default: follows --port")]


OPERATOR = "operator"
"""Whom the token that the stack prints is for."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """SIGTERM, SIGHUP or Ctrl-C."""


def up(
    data_dir: Annotated[Path, typer.Option(help="Where all data stays between runs")] = Path(".specie"),
    port: Annotated[
        int, typer.Option(min=1, max=ports.LAST, help="Of the gateway. The other ports follow it when it is not 8080")
    ] = ports.DEFAULT_GATEWAY,
    wallet_port: OptionalPort = None,
    transaction_port: OptionalPort = None,
    postgres_port: OptionalPort = None,
    admin_port: OptionalPort = None,
    back_office_port: OptionalPort = None,
    payout_simulator_port: OptionalPort = None,
    wallet_workers: Annotated[
        int, typer.Option(min=1, max=16, envvar="SPECIE_WALLET_WORKERS", help="Processes of the wallet service")
    ] = 1,
    transaction_workers: Annotated[
        int, typer.Option(min=1, max=16, envvar="SPECIE_TRANSACTION_WORKERS", help="Those of the transaction service")
    ] = 1,
    calls_per_second: Annotated[
        int, typer.Option(min=1, help="The gateway's limit for all clients together")
    ] = GatewayWish.calls_per_second,
    calls_per_second_per_client: Annotated[
        int, typer.Option(min=1, help="The gateway's limit for one client address")
    ] = GatewayWish.calls_per_second_per_client,
    subject_limit: Annotated[
        str, typer.Option(metavar="READS,WRITES,BATCHES", help="The gateway's limits for one subject, calls a second")
    ] = str(USUAL),
    subject_limits: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=READS,WRITES,BATCHES", help="Other limits for this subject; may be repeated"),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="https://HOST", help="Whose pages may call from a browser; may be repeated"),
    ] = None,
    tls: Annotated[
        bool,
        typer.Option("--tls", help="TLS for callers and between the parts, with certificates of its own authority"),
    ] = False,
    payout_simulator: Annotated[
        bool,
        typer.Option("--payout-simulator", help="A bank to try payouts with, as the provider `simulator`"),
    ] = False,
    private_webhooks: Annotated[
        bool,
        typer.Option("--private-webhooks", help="Webhooks may go to private networks and to this machine"),
    ] = False,
    ephemeral: Annotated[
        bool, typer.Option("--ephemeral", help="In a temporary directory, deleted at the end")
    ] = False,
    ready_file: Annotated[
        Path | None, typer.Option(help="Written as JSON once all is healthy, removed at the end")
    ] = None,
) -> None:
    """Runs all of Specie on this machine until Ctrl-C: PostgreSQL, both services, the back office and the gateway.

    Ports that are not given, with --port 8080: wallet 50051, transaction 50061,
    back office 50081, payout simulator 50091, PostgreSQL 54320, Envoy's admin
    9901. With any other --port P: admin P+1, PostgreSQL P+2, back office P+3,
    payout simulator P+4, wallet from P+10, transaction from P+30, or the next
    free.

    Settings (SPECIE_WALLET_*, SPECIE_TRANSACTION_*, SPECIE_BACK_OFFICE_*) are
    taken from the environment.
    """
    wish = ports.Wish(
        gateway=port,
        admin=admin_port,
        postgres=postgres_port,
        back_office=back_office_port,
        payout_simulator=payout_simulator_port,
        wallet=wallet_port,
        transaction=transaction_port,
        wallet_workers=wallet_workers,
        transaction_workers=transaction_workers,
    )
    console = Console(stderr=True)
    if ready_file is not None and not ready_file.absolute().parent.is_dir():
        console.print(f"error: there is no directory {ready_file.absolute().parent} for the ready file", style="red")
        raise typer.Exit(1)
    try:
        per_subject = SubjectLimits(Allowance.parse(subject_limit), dict(map(named_allowance, subject_limits or ())))
        origins = tuple(map(origin, cors_origin or ()))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    gateway = GatewayWish(calls_per_second, calls_per_second_per_client, per_subject, origins)
    outside = OutsideWish(payout_simulator, private_webhooks)
    with in_the_foreground(None if ephemeral else data_dir, wish, gateway, console, outside=outside, tls=tls) as stack:
        try:
            _show(stack, ephemeral=ephemeral)
            # Last, so that who waits for it finds everything printed.
            if ready_file is not None:
                write_ready_file(ready_file, stack.description())
            stack.watch()
        finally:
            if ready_file is not None:
                ready_file.unlink(missing_ok=True)


@contextmanager
def in_the_foreground(
    data_dir: Path | None,
    wish: ports.Wish,
    gateway: GatewayWish,
    console: Console,
    *,
    outside: OutsideWish = OutsideWish(),  # noqa: B008 - it cannot be changed
    tls: bool = False,
) -> Iterator[LocalStack]:
    """A stack that is running, and is stopped at the end. Signals end it early, and quietly; what fails ends the
    command with a message. `data_dir` None: in a temporary directory that is deleted at the end."""
    for number in SIGNALS:
        signal.signal(number, _stop)
    if (path := data_dir) is None:
        path = Path(tempfile.mkdtemp(prefix="specie-"))
        path.chmod(0o711)  # PostgreSQL may run as another user and must pass
    directory = DataDirectory(path)
    try:
        directory.open()
        tell = partial(console.print, markup=False, highlight=False)
        stack = LocalStack(directory, ports.chosen(wish), gateway, dict(os.environ), tell, outside=outside, tls=tls)
        console.print(f"starting in {directory.path}", markup=False, highlight=False)
        try:
            stack.start()
            yield stack
        finally:
            # From here on the stop runs to its end, whatever is pressed.
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)
            console.print("stopping")
            stack.stop()
    except StackError as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    except Stopped:
        console.print("stopped")
        raise typer.Exit from None
    finally:
        directory.close()
        if data_dir is None:
            directory.delete()


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Stopped


def _show(stack: LocalStack, *, ephemeral: bool) -> None:
    """Where everything is, without passwords, and what to try first."""
    where = stack.description()
    table = Table(title="Specie is running", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(overflow="fold")  # a path that is cut off is of no use
    table.add_row("gateway (JSON and gRPC)", str(where["gateway"]))
    table.add_row("reference of the API", f"{where['gateway']}/docs")
    for name in ("wallet", "transaction"):
        table.add_row(f"{name} service (gRPC)", ", ".join(where[name]))  # type: ignore[arg-type]
    table.add_row("back office (health)", str(where["back_office"]))
    if "payout_simulator" in where:
        table.add_row("payout simulator (gRPC)", str(where["payout_simulator"]))
    table.add_row("PostgreSQL", f"{ports.HOST}:{stack.ports.postgres}, database specie")
    table.add_row("Envoy's admin page", f"http://{ports.HOST}:{stack.ports.admin}")
    table.add_row("public key of its audit chain", str(stack.keys.seal_public))
    if stack.authority:
        table.add_row("authority of its certificates", str(stack.authority.certificate))
    elsewhere = stack.database_files
    table.add_row("data, logs, passwords" if elsewhere is None else "logs, passwords", str(stack.data_dir))
    if elsewhere is not None:
        table.add_row("data (its user cannot enter the above)", str(elsewhere))
    console = Console(file=sys.stdout)
    console.print(table)
    console.print("Try:", highlight=False)
    token = stack.issuer.mint(OPERATOR, "admin", TTL_SECONDS_MAX)
    trust = f"  export SPECIE_CA={stack.authority.certificate}\n" if stack.authority else ""
    trusting = ' --cacert "$SPECIE_CA"' if stack.authority else ""
    server = str(where["gateway"]).partition("://")[2]
    reached = f"  export SPECIE_SERVER={server}\n" if server != DEFAULT_SERVER else ""
    command = f"""\
{trust}{reached}  export SPECIE_TOKEN={token}
  curl -s{trusting} '{where["gateway"]}/v1/wallets?walletId=alice' -H "authorization: Bearer $SPECIE_TOKEN" \\
       -H 'idempotency-key: alice' -d '{{"owner": "alice", "currencyCode": "USD"}}'
  (the README's first call; it goes on from there)
The token may do everything, for a day. Another one:
  {sys.argv[0]} token --data-dir {stack.data_dir} --subject alice --scope 'wallets.read transfers.write'"""
    console.print(command, markup=False, highlight=False, soft_wrap=True)
    fate = "is deleted" if ephemeral else "stays"
    console.print(f"Ctrl-C stops everything; the data {fate}.", highlight=False)
