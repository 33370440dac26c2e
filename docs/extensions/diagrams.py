"""Draws diagrams from the code, as SVG in the page.

``.. session-states::`` draws the states of a session. ``.. package-layers::`` draws the layers of ``.importlinter``.
``.. import-contracts::`` lists the names of all its contracts.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from configparser import ConfigParser
from html import escape
from pathlib import Path
from typing import Any, Final

import session_states
from docutils import nodes
from session_states import Step
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from audiohookd.protocol.states import State

ROOT = Path(__file__).parents[2]
CONTRACTS = ROOT / ".importlinter"
#: Pixels. All boxes of the states have this width, and the height of a name and a line of messages.
BOX_WIDTH: Final = 400
BOX_HEIGHT: Final = 84
BOX_DISTANCE: Final = 116
#: From the left edge of the picture to the boxes: the way of a lost connection is there.
MARGIN: Final = 134
#: From one vertical line to the next, and from one end of a line at a box to the next.
LANE: Final = 26
PORT: Final = 14
#: Room for the labels between the boxes and the first vertical line.
LABEL_WIDTH: Final = 130
LOST: Final = "connection lost"
STYLE: Final = (
    "font-family: sans-serif; font-size: 12px; max-width: 100%; height: auto; display: block; margin: 1em 0"
)


def _text(x: float, y: float, text: str, **options: object) -> str:
    attributes = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in options.items())
    return f'<text x="{x:g}" y="{y:g}"{attributes}>{escape(text)}</text>'


def _box(x: float, y: float, width: float, height: float) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" fill="#eef3f8" stroke="#456"/>'


def _line(points: Sequence[tuple[float, float]], dashed: bool) -> str:
    path = " ".join(f"{x:g},{y:g}" for x, y in points)
    dashes = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<polyline points="{path}" fill="none" stroke="#456"{dashes} marker-end="url(#arrow)"/>'


def _svg(width: float, height: float, title: str, parts: Iterable[str]) -> str:
    arrow = (
        '<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7"'
        ' orient="auto"><path d="M0 0L10 5L0 10z" fill="#456"/></marker></defs>'
    )
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}"'
    return f'{opening} role="img" style="{STYLE}"><title>{escape(title)}</title>{arrow}{"".join(parts)}</svg>'


def _edges(steps: Iterable[Step]) -> dict[tuple[State, State, bool], list[str]]:
    """The labels of each line on the right, by state, next state, and whether the client causes it."""
    edges: dict[tuple[State, State, bool], list[str]] = defaultdict(list)
    for step in steps:
        if step.state is not step.next_state and step.label != LOST:
            edges[step.state, step.next_state, step.is_message].append(step.label)
    return edges


def states_svg(steps: Sequence[Step]) -> str:
    """One column of boxes. Lines on the right are messages and steps of the daemon, on the left a lost connection."""
    tops = {state: 10 + number * BOX_DISTANCE for number, state in enumerate(State)}
    edges = _edges(steps)
    # Short lines are inside, so that few lines cross.
    by_length = sorted(edges, key=lambda edge: (abs(tops[edge[1]] - tops[edge[0]]), tops[edge[0]]))
    parts = []
    for state, top in tops.items():
        staying = [step.label for step in steps if step.state is step.next_state is state]
        parts += [
            _box(MARGIN, top, BOX_WIDTH, BOX_HEIGHT),
            _text(MARGIN + 10, top + 20, state.name, font_weight="bold"),
            *(_text(MARGIN + 10, top + 36 + 13 * row, line) for row, line in enumerate(_rows(staying))),
        ]
    ports: dict[State, int] = defaultdict(int)
    right = MARGIN + BOX_WIDTH
    for number, edge in enumerate(by_length):
        state, next_state, is_message = edge
        lane = right + LABEL_WIDTH + number * LANE
        start = tops[state] + PORT + PORT * ports[state]
        ports[state] += 1
        end = tops[next_state] + PORT + PORT * ports[next_state]
        ports[next_state] += 1
        parts += [
            _line([(right, start), (lane, start), (lane, end), (right, end)], not is_message),
            _text(right + 8, start - 3, ", ".join(edges[edge])),
        ]
    parts += _lost([step for step in steps if step.label == LOST], tops)
    width = right + LABEL_WIDTH + len(edges) * LANE
    return _svg(width, max(tops.values()) + BOX_HEIGHT + 10, "States of a session", parts)


def _rows(labels: Sequence[str]) -> Iterator[str]:
    """At most two lines of text, which is what a box has room for."""
    half = (len(labels) + 1) // 2 if len(labels) > 6 else len(labels)
    for part in (labels[:half], labels[half:]):
        if part:
            yield ", ".join(part)


def _lost(steps: Sequence[Step], tops: Mapping[State, float]) -> Iterator[str]:
    lane = MARGIN - 30
    for step in steps:
        middle, end = tops[step.state] + BOX_HEIGHT / 2, tops[step.next_state] + BOX_HEIGHT / 2
        yield _line([(MARGIN, middle), (lane, middle), (lane, end), (MARGIN, end)], True)
    if steps:
        yield _text(lane - 6, tops[steps[0].state] + BOX_HEIGHT / 2 + 16, LOST, text_anchor="end")


def layers_svg(layers: Sequence[Sequence[str]]) -> str:
    """One row of boxes for each layer, the highest on top."""
    width, height, distance = 720.0, 30.0, 46.0
    parts = []
    for number, packages in enumerate(layers):
        box = (width - 20 - 12 * (len(packages) - 1)) / len(packages)
        top = 10 + number * distance
        for column, package in enumerate(packages):
            left = 10 + column * (box + 12)
            parts += [_box(left, top, box, height), _text(left + box / 2, top + 20, package, text_anchor="middle")]
        if number:
            parts.append(_line([(width / 2, top - distance + height), (width / 2, top)], False))
    return _svg(width, 20 + (len(layers) - 1) * distance + height, "Layers of packages", parts)


def contracts() -> list[Mapping[str, str]]:
    """The contracts of ``.importlinter``."""
    parser = ConfigParser()
    parser.read(CONTRACTS)
    return [parser[section] for section in parser.sections() if section.startswith("importlinter:contract:")]


def layers() -> list[list[str]]:
    """The packages of each layer, the highest first."""
    (contract,) = (each for each in contracts() if each["type"] == "layers")
    return [line.replace(" ", "").split("|") for line in contract["layers"].split("\n") if line.strip()]


class SessionStates(SphinxDirective):
    """The states of a session and their transitions."""

    def run(self) -> list[nodes.Node]:
        """Finds and draws them."""
        self.env.note_dependency(session_states.__file__)
        self.env.note_dependency(__file__)
        return [nodes.raw("", states_svg(session_states.steps()), format="html")]


class PackageLayers(SphinxDirective):
    """The layers of packages."""

    def run(self) -> list[nodes.Node]:
        """Reads and draws them."""
        self.env.note_dependency(str(CONTRACTS))
        return [nodes.raw("", layers_svg(layers()), format="html")]


class ImportContracts(SphinxDirective):
    """The names of all contracts."""

    def run(self) -> list[nodes.Node]:
        """Reads them."""
        self.env.note_dependency(str(CONTRACTS))
        names = [nodes.paragraph(text=contract["name"]) for contract in contracts()]
        return [nodes.bullet_list("", *(nodes.list_item("", name) for name in names))]


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("session-states", SessionStates)
    app.add_directive("package-layers", PackageLayers)
    app.add_directive("import-contracts", ImportContracts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
