"""A graph as a picture: nodes in layers from start to end, with edges between them, for SVG."""

import textwrap
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

NODE_WIDTH, NODE_HEIGHT, GAP_X, GAP_Y, MARGIN = 148, 44, 16, 30, 14
_LETTERS = 20
START, END = "__start__", "__end__"


@dataclass(frozen=True)
class Box:
    """A node. `state` is `here`, `left`, `edited`, `done`, `running`, `failed` or empty.

    `gate` is `before`, `after` or empty. With an edit, the node that waits is `left`, the one that would run instead
    `edited`.
    """

    id: str
    lines: list[tuple[int, str]]
    x: int
    y: int
    state: str
    gate: str
    gate_y: int
    title: str
    is_end: bool
    middle: int
    x2: int


@dataclass(frozen=True)
class EdgeLine:
    """An edge, as the `d` of an SVG path."""

    path: str
    is_conditional: bool
    is_taken: bool = False


@dataclass(frozen=True)
class Drawing:
    width: int
    height: int
    boxes: list[Box]
    lines: list[EdgeLine]
    sentence: str
    node_width: int = NODE_WIDTH
    node_height: int = NODE_HEIGHT


def drawing_of(
    card: Mapping[str, Any],
    *,
    here: Collection[str] = (),
    states: Mapping[str, str] | None = None,
    taken: Collection[tuple[str, str]] = (),
    leads_to: Collection[str] = (),
) -> Drawing:
    """Draw the card. `here` are the waiting nodes, `states` those of others, `taken` the edges of the path.

    `leads_to` are the nodes that an edit would run instead.
    """
    nodes = {node["id"]: node for node in card["nodes"]}
    edges = [(edge["source"], edge["target"], bool(edge["conditional"])) for edge in card["edges"]]
    names = [START, *nodes, END]
    edges = [edge for edge in edges if edge[0] in names and edge[1] in names]
    layers = _layers(names, [(source, target) for source, target, _ in edges])
    width = max(len(layer) for layer in layers) * (NODE_WIDTH + GAP_X) - GAP_X + 4 * MARGIN
    places = {
        name: _place(column, row, len(layer), width)
        for row, layer in enumerate(layers)
        for column, name in enumerate(layer)
    }
    rows = {name: row for row, layer in enumerate(layers) for name in layer}
    states = {**(states or {}), **dict.fromkeys(here, "left" if leads_to else "here")}
    states |= dict.fromkeys(leads_to, "edited")
    boxes = [_box(name, nodes.get(name), places[name], states.get(name, "")) for name in places]
    lines = [
        EdgeLine(_path(places[a], places[b], rows[b] - rows[a], width), is_conditional, (a, b) in taken)
        for a, b, is_conditional in edges
    ]
    told = ", ".join(nodes[name]["title"] for name in here if name in nodes)
    sentence = f"Graph of {len(nodes)} nodes." + (f" Waits at: {told}." if told else "")
    if instead := ", ".join(nodes[name]["title"] for name in leads_to if name in nodes):
        sentence += f" With the edit, next is: {instead}."
    if taken:
        done = ", ".join(nodes[name]["title"] for name, state in states.items() if state == "done" and name in nodes)
        sentence += f" Path so far: {done or 'the start'}."
    return Drawing(width, len(layers) * (NODE_HEIGHT + GAP_Y) - GAP_Y + 2 * MARGIN, boxes, lines, sentence)


def _layers(names: list[str], edges: list[tuple[str, str]]) -> list[list[str]]:
    """Put each node one layer below the lowest node that leads to it. Edges that lead back do not count."""
    after: dict[str, list[str]] = defaultdict(list)
    for source, target in edges:
        after[source].append(target)
    order = _depth_first(names, after)
    place = {name: index for index, name in enumerate(order)}
    depth = dict.fromkeys(names, 0)
    for name in order:
        for target in after[name]:
            if place[target] > place[name]:
                depth[target] = max(depth[target], depth[name] + 1)
    depth[END] = max(depth[END], 1 + max((depth[name] for name in names if name != END), default=0))
    layers: dict[int, list[str]] = defaultdict(list)
    for name in names:
        layers[depth[name]].append(name)
    return [layers[level] for level in sorted(layers)]


def _depth_first(names: Iterable[str], after: Mapping[str, list[str]]) -> list[str]:
    """Sort the nodes so that each comes before those it leads to, as far as there are no cycles."""
    done: list[str] = []
    seen: set[str] = set()
    for root in names:
        waiting: list[tuple[str, bool]] = [(root, False)]
        while waiting:
            name, is_left = waiting.pop()
            if is_left:
                done.append(name)
            elif name not in seen:
                seen.add(name)
                waiting.append((name, True))
                waiting.extend((target, False) for target in after.get(name, ()))
    return done[::-1]


def _place(column: int, row: int, count: int, width: int) -> tuple[int, int]:
    """Return the upper left corner of a box; layers are centred."""
    used = count * (NODE_WIDTH + GAP_X) - GAP_X
    return (width - used) // 2 + column * (NODE_WIDTH + GAP_X), MARGIN + row * (NODE_HEIGHT + GAP_Y)


def _box(name: str, node: Mapping[str, Any] | None, place: tuple[int, int], state: str) -> Box:
    x, y = place
    title = str(node["title"]) if node else {START: "Start", END: "End"}[name]
    told = textwrap.wrap(title, _LETTERS, max_lines=2, placeholder="…") or [name[:_LETTERS]]
    first = y + NODE_HEIGHT // 2 + (4 if len(told) == 1 else -4)
    gate = (node or {}).get("gate") or ""
    gate_y = {"before": y - 5, "after": y + NODE_HEIGHT + 5}.get(gate, 0)
    lines = [(first + 16 * index, line) for index, line in enumerate(told)]
    return Box(
        name, lines, x, y, state, gate, gate_y, f"{title} ({name})", node is None, x + NODE_WIDTH // 2, x + NODE_WIDTH
    )


def _path(source: tuple[int, int], target: tuple[int, int], down: int, width: int) -> str:
    half = NODE_WIDTH // 2
    x1, y1, x2, y2 = source[0] + half, source[1] + NODE_HEIGHT, target[0] + half, target[1]
    if down == 1:
        middle = (y1 + y2) // 2
        return f"M{x1},{y1} C{x1},{middle} {x2},{middle} {x2},{y2 - 2}"
    return _side_path(source, target, side=6 if down > 1 else width - 6)


def _side_path(source: tuple[int, int], target: tuple[int, int], *, side: int) -> str:
    """Return the path of an edge around a layer: on the left when it skips one, on the right when it leads back."""
    is_back = side > source[0]
    x1, x2 = source[0] + is_back * NODE_WIDTH, target[0] + is_back * NODE_WIDTH + (2 if is_back else -2)
    y1, y2 = source[1] + NODE_HEIGHT // 2 + is_back * 6, target[1] + NODE_HEIGHT // 2 - is_back * 6
    return f"M{x1},{y1} C{side},{y1} {side},{y1} {side},{(y1 + y2) // 2} S{side},{y2} {x2},{y2}"
