"""`specie audit ...`: what an auditor asks of a ledger, and what he can check without it."""

import typer

from specie_cli.audits import listing, proving, verifying

app = typer.Typer(no_args_is_help=True, help="Who did what, and proofs that nothing of it was changed since.")
app.command()(verifying.verify)
app.command()(proving.checkpoint)
app.command()(proving.prove)
app.command()(proving.check)
app.command()(proving.key)
app.command()(listing.records)
app.command()(listing.acts)
