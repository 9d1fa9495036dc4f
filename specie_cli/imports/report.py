"""What a person sees of an import, on standard error; its outcome, on standard output."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from specie_cli import show
from specie_cli.ending import messages
from specie_cli.imports.checking import Checked
from specie_cli.imports.sender import Kind, Outcome
from specie_cli.reports.output import discard_output


@dataclass
class Tally:
    """What became of the lines that were sent."""

    posted: int = 0
    before: int = 0
    """Under the same request id, by an earlier run."""
    pending: int = 0
    rejected: int = 0

    def count(self, outcome: Outcome) -> None:
        if outcome.kind is Kind.REJECTED:
            self.rejected += 1
        elif outcome.replayed:
            self.before += 1
        elif outcome.kind is Kind.PENDING:
            self.pending += 1
        else:
            self.posted += 1

    @property
    def finished(self) -> int:
        return self.posted + self.before + self.pending + self.rejected


@dataclass
class Report:
    as_json: bool
    console: Console = field(default_factory=messages)

    @contextmanager
    def progress(self, name: str, total: int | None) -> Iterator[tuple[Callable[[int], None], Callable[[str], None]]]:
        """What to call with how much of `total` is done, and with what it waits for. The bar is for terminals alone."""
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        bar = Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)
        with bar:
            task = bar.add_task(name, total=total)
            told = set()

            def done(completed: int) -> None:
                bar.update(task, completed=completed)

            def waiting(problem: str) -> None:
                if problem and problem not in told and bar.disable:
                    told.add(problem)
                    self.note(f"{name} again: {problem}")
                bar.update(task, description=show.plain(f"{name}: {problem}").plain[:60] if problem else name)

            yield done, waiting

    def error(self, text: str) -> None:
        self.console.print(show.plain(f"error: {text}"), style="red")

    def note(self, text: str) -> None:
        self.console.print(show.plain(text))

    def flaws(self, checked: Checked, skipped: bool) -> None:
        for flaw in checked.shown:
            self.note(str(flaw))
        if checked.flaws > len(checked.shown):
            self.note(f"... and {checked.flaws - len(checked.shown)} more")
        if skipped and checked.is_whole:
            self.note(f"warning: {_lines(checked.broken)} will not be sent")
        else:
            self.error(
                f"{_lines(checked.broken)} of the file cannot be sent, so nothing was. Mend the file and try again."
            )

    def totals(self, checked: Checked) -> None:
        """What is about to be sent."""
        sums = ", ".join(show.units(units, currency) for currency, units in sorted(checked.totals.items()))
        self.note(f"{_transfers(checked.to_send)}{': ' if sums else ''}{sums}")
        if checked.alike:
            repeat = "repeats" if checked.alike == 1 else "repeat"
            self.note(
                f"warning: {_lines(checked.alike)} {repeat} one further up, line {checked.first_alike} first; "
                "each is a transfer of its own"
            )

    def outcome(self, checked: Checked, tally: Tally, rejected: Path | None) -> bool:
        """Whether it could be printed."""
        unfinished = checked.to_send - tally.finished
        printed = True
        try:
            self._print_outcome(checked, tally, unfinished, rejected)
        except (OSError, SystemExit) as error:  # rich ends the program where nobody reads on
            printed = False
            discard_output()
            problem = error.strerror if isinstance(error, OSError) else "nobody reads it"
            self.error(f"the outcome cannot be printed: {problem}. The same again sends nothing twice, and tells it.")
        self._advise(tally, unfinished, rejected)
        return printed

    def _print_outcome(self, checked: Checked, tally: Tally, unfinished: int, rejected: Path | None) -> None:
        """Raises OSError, SystemExit."""
        if self.as_json:
            figures: dict[str, object] = {
                "posted": tally.posted,
                "postedBefore": tally.before,
                "pending": tally.pending,
                "rejected": tally.rejected,
                "broken": checked.broken,
                "unfinished": unfinished,
                "rejectedFile": None if rejected is None else str(rejected),
            }
            print(json.dumps(figures), flush=True)
        else:
            facts = [("posted", tally.posted), ("posted before", tally.before), ("pending", tally.pending)]
            facts += [("rejected", tally.rejected), ("broken", checked.broken), ("without an answer", unfinished)]
            always = ("posted", "rejected")
            show.as_facts([(name, str(count)) for name, count in facts if count or name in always])

    def _advise(self, tally: Tally, unfinished: int, rejected: Path | None) -> None:
        if rejected is not None:
            self.note(
                f"{rejected} has the lines that were rejected, and why. Mend them and import it, or mend them where "
                "they came from and run this again; not both."
            )
        if tally.before:
            self.note(
                "What was posted before was not posted again. If it is to be: give each import a --series of its own, "
                "or the lines a request_id."
            )
        if unfinished:
            self.note("Run the same again: it goes on, and does nothing twice.")


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count} lines"


def _transfers(count: int) -> str:
    return "1 transfer" if count == 1 else f"{count} transfers"
