"""Draws a run as one SVG: how many transfers a second, and what CPU time a transfer takes in each process."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

from bench.bars import GROWN, SPREAD

Found = Mapping[str, Any]
Row = tuple[str, Mapping[str, Any]]

WIDTH: Final = 1000
MARGIN: Final = 16
BARS_FROM, BARS_TO = 290, 860
"""Between names on the left and figures on the right."""
LINE, BAR = 24, 16
"""Heights, of a row and of its bar."""
HEADING: Final = 58
"""Height, of a panel's title and legend."""

PAPER, INK, QUIET = "#ffffff", "#1f2933", "#5f6c7b"
FLOOR, MEASURED, GROWN_COLOUR = "#9aa5b1", "#2563eb", "#0d9488"
PARTS: Final = {
    "service": ("service", "#2563eb"),
    "postgresql": ("PostgreSQL", "#f59e0b"),
    "back_office": ("back office", "#10b981"),
    "envoy": ("Envoy", "#a855f7"),
    "client": ("client", "#cbd2d9"),
}


def write(found: Found, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(draw(found) + "\n")


def draw(found: Found) -> str:
    """The SVG's text."""
    rows = [(name, row) for name, row in found["results"].items() if name != "balance"]
    panel = HEADING + LINE * len(rows)
    height = HEADING + 2 * panel + MARGIN
    picture = Picture(height)
    picture.text(MARGIN, 28, "Specie: durable transfers, everything on one machine", size=18)
    measured = f"{found['time'][:10]}, {found['machine']['cores']} cores, fsync on"
    picture.text(MARGIN, 48, measured, colour=QUIET)
    legend = {"SQL alone, no service": FLOOR, "measured": MEASURED}
    if any(is_grown(name) for name, _ in rows):
        legend["measured on grown data"] = GROWN_COLOUR
    picture.panel(HEADING, "Transfers a second", legend)
    bars(picture, HEADING * 2, rows)
    shown = {part for _, row in rows for part in row["cpu_us"]}
    picture.panel(HEADING + panel, "CPU microseconds a transfer", dict(v for k, v in PARTS.items() if k in shown))
    stacks(picture, HEADING * 2 + panel, rows)
    return ET.tostring(picture.root, encoding="unicode")


def is_grown(name: str) -> bool:
    return name.startswith((GROWN, SPREAD))


def bars(picture: "Picture", top: int, rows: Sequence[Row]) -> None:
    scale = (BARS_TO - BARS_FROM) / max(row["per_second"] for _, row in rows)
    for number, (name, row) in enumerate(rows):
        colour = FLOOR if name.startswith("floor") else GROWN_COLOUR if is_grown(name) else MEASURED
        width = row["per_second"] * scale
        picture.row(top + LINE * number, row["says"], f"{row['per_second']:,.0f}", [(width, colour)])


def stacks(picture: "Picture", top: int, rows: Sequence[Row]) -> None:
    scale = (BARS_TO - BARS_FROM) / max(sum(row["cpu_us"].values()) for _, row in rows)
    for number, (_, row) in enumerate(rows):
        used = row["cpu_us"]
        pieces = [(used[part] * scale, colour) for part, (_, colour) in PARTS.items() if part in used]
        picture.row(top + LINE * number, row["says"], f"{sum(used.values()):,.0f}", pieces)


class Picture:
    """Shapes and words at places in pixels."""

    def __init__(self, height: int) -> None:
        self.root = ET.Element(
            "svg",
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "viewBox": f"0 0 {WIDTH} {height}",
                "width": str(WIDTH),
                "height": str(height),
                "font-family": "system-ui, sans-serif",
                "role": "img",
            },
        )
        ET.SubElement(self.root, "title").text = "Specie's benchmark"
        self.box(0, 0, WIDTH, height, PAPER)

    def box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        place = {"x": x, "y": y, "width": width, "height": height}
        rounded = {key: f"{value:.1f}" for key, value in place.items()}
        ET.SubElement(self.root, "rect", rounded | {"fill": colour})

    def text(self, x: float, y: float, words: str, *, size: int = 13, colour: str = INK, end: bool = False) -> None:
        place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "font-size": str(size), "fill": colour}
        anchor = {"text-anchor": "end"} if end else {}
        ET.SubElement(self.root, "text", place | anchor).text = words

    def panel(self, top: float, title: str, legend: Mapping[str, str]) -> None:
        """The legend says which colour is what."""
        self.text(MARGIN, top + 40, title, size=15)
        x = float(BARS_FROM)
        for words, colour in legend.items():
            self.box(x, top + 29, 12, 12, colour)
            self.text(x + 17, top + 40, words, colour=QUIET)
            x += 45 + 7 * len(words)

    def row(self, top: float, name: str, figure: str, pieces: Sequence[tuple[float, str]]) -> None:
        """`pieces` lie side by side: widths and colours."""
        middle = top + LINE / 2
        self.text(BARS_FROM - 10, middle + 4, name, end=True)
        x = float(BARS_FROM)
        for width, colour in pieces:
            self.box(x, middle - BAR / 2, width, BAR, colour)
            x += width
        self.text(x + 8, middle + 4, figure)
