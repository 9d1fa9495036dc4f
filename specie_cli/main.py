"""The `specie` command."""

import typer

from specie_cli import audit, money, payouts, wallets, webhooks
from specie_cli.demo import demo
from specie_cli.importing import import_file
from specie_cli.report import report
from specie_cli.statement import statement
from specie_cli.token import token
from specie_cli.up import up

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command()(up)
app.command()(demo)
app.command()(token)
app.add_typer(wallets.app, name="wallet")
app.command()(money.deposit)
app.command()(money.transfer)
app.command()(money.entries)
app.command()(report)
app.command()(statement)
app.command(name="import")(import_file)
app.add_typer(payouts.app, name="payouts")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(audit.app, name="audit")


@app.callback()
def main() -> None:
    """A wallet and payments backend that you run yourself.

    Commands that call the gateway take a token from SPECIE_TOKEN (`specie token`
    prints one) and, where it speaks TLS, the file with its authority from
    SPECIE_CA.

    A command ends with 0 when it is done, 1 when it was refused, 2 when it was
    given wrongly, 3 when nothing answers, and 130 when it was interrupted. What
    `import` and `audit verify` mean by them, docs/import.md and docs/audit.md
    say.
    """


if __name__ == "__main__":
    app()
