"""Which channels must go together, to be seen: every value a column of cells, one a channel, coloured by the layers it hangs on."""
from ..graph import couple
from .canvas import COLOURS, sheet

STAY, GAP, LINE = "#c9c9c4", 0.3, 0.24
SHOWN = ("conv2d", "linear", "add", "sub", "mul", "concat", "split", "slice", "channel_shuffle", "take_channels")
COLUMN, CELL, TALLEST = 0.62, 0.16, 6.0                     # inches: a column's pitch, a cell, all cells of the tallest column


def families(coupling):
    """Coupled groups that live in the same layers, as {names of those layers' weights: [roots]}, in order of the network.

    >>> g = tc.trace(tc.nn.Sequential(tc.nn.Conv2d(1, 3, 3, rng=0), tc.nn.Conv2d(3, 2, 1, rng=0)), (1, 1, 5, 5), check=False)
    >>> tc.draw.channels.families(tc.graph.couple(g))
    {('0.weight',): [1, 2, 3]}
    """
    weights = {node.inputs[1] for node in coupling.graph.nodes if node.op in ("conv2d", "linear")}
    order = [name for name in coupling.graph.arrays() if name in weights]
    found = {}
    for root, bound in coupling.groups.items():
        mine = {b.name for b in bound if b.axis == 0}
        found.setdefault(tuple(name for name in order if name in mine), []).append(root)
    return found


def _columns(coupling):
    """[(value, text under it, names of the columns it is made of)]: the input, layers, and what joins, divides or reorders."""
    graph, home, columns = coupling.graph, {}, []
    readers = graph.consumers()
    for name in graph.inputs:
        home[name] = [name]
        columns.append((name, "input", []))
    for node in graph.nodes:
        sources = list(dict.fromkeys(v for value in node.values() for v in home.get(value, [])))
        streams = sum(value in coupling.ids for value in node.values())
        if node.op not in SHOWN or node.op in ("add", "sub", "mul") and streams < 2:
            home.update(dict.fromkeys(node.outputs, sources))
            continue
        for output in node.outputs:
            if output in readers or output in graph.outputs:
                home[output] = [output]
                columns.append((output, _text(coupling, node), sources))
    return columns


def _text(coupling, node):
    """What stands under a column: the layer's name and window, or the operation."""
    if node.op not in ("conv2d", "linear"):
        return {"channel_shuffle": "shuffle", "take_channels": "take"}.get(node.op, node.op)
    shape = coupling.shapes[node.inputs[1]]
    window = f"{shape[2]}×{shape[3]}" if len(shape) == 4 else "linear"
    groups = node.attributes.get("groups", 1)
    kind = "" if groups == 1 else " depthwise" if shape[1] == 1 else f", {groups} groups"
    return f"{node.module or node.inputs[1].removesuffix('.weight')}: {window}{kind}"


def coupled_channels(graph, gone=(), follow=(), title=""):
    """A network as columns of cells, one cell a channel, read from left to right; cells of one colour belong to one family of
    coupled groups, listed below with the layers whose filters they are (with more than eight families colours come again). Grey
    cells must stay.

    gone     roots of groups that are taken out: their cells are hollow
    follow   roots of groups that a line follows from one to the next column where they have cells (dots)
    Columns: input, convolution and linear layers, and what adds, joins, divides or reorders channels; lines above lead from a
    column to those that read it, unless it is the next. Good for up to some thirty columns. Returns the figure.
    Errors: ValueError for roots that are no groups of this graph.
    """
    c = couple(graph)
    strange = [root for root in (*gone, *follow) if root not in c.groups]
    if strange:
        raise ValueError(f"gone and follow must be roots of groups of this graph, not {', '.join(map(str, strange))}")
    columns, kinds = _columns(c), families(c)
    colour = {root: COLOURS[i % len(COLOURS)] for i, roots in enumerate(kinds.values()) for root in roots}
    tall = max(len(c.ids[value]) for value, _, _ in columns)
    cell = max(round(100 * min(CELL, TALLEST / tall)), 2) / 100                                # whole dots
    arcs = [(j, i) for i, (_, _, sources) in enumerate(columns) for j in range(i - 1) if columns[j][0] in sources]
    levels = _levels(arcs)
    below = 0.3 + 0.067 * max(len(text) for _, text, _ in columns)
    foot, head = below + LINE * (len(kinds) + 1) + 0.1, 0.5 + GAP * (max(levels, default=-1) + 1)
    width, height = max(0.6 + COLUMN * len(columns), 6.5), foot + cell * tall + head
    figure = sheet(width, height, layout=None)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))                   # one unit is one inch
    axes.set_axis_off()
    top, where = height - head, {}
    for i, (value, text, _) in enumerate(columns):
        x = 0.5 + COLUMN * i
        roots = c.roots(c.ids[value]).tolist()
        _cells(axes, x, top, cell, roots, colour, set(gone))
        for k, root in enumerate(roots):
            where.setdefault(root, []).append((x, top - cell * (k + 0.5)))
        kept = sum(root not in set(gone) for root in roots)
        axes.text(x, top + 0.05, kept if kept == len(roots) else f"{kept} of {len(roots)}", ha="center", va="bottom", fontsize=8)
        axes.text(x, top - cell * tall - 0.08, text, ha="center", va="top", fontsize=8, rotation=90)
    _arcs(axes, arcs, levels, top + 0.24)
    for root in follow:
        axes.plot(*zip(*where[root]), color="black", linewidth=1.0, zorder=1)
        axes.plot(*zip(*where[root]), color="black", linestyle="none", marker="o", markersize=3.5, zorder=4)
    _legend(axes, kinds, colour, set(gone), foot - below)
    axes.text(0.15, height - 0.06, title, ha="left", va="top", fontsize=11)
    return figure


def _cells(axes, x, top, cell, roots, colour, gone):
    """One column: a cell a channel, hollow where it is gone."""
    from matplotlib.patches import Rectangle
    for k, root in enumerate(roots):
        shade = colour.get(root, STAY)
        axes.add_patch(Rectangle((x - 0.15, top - cell * (k + 0.9)), 0.3, 0.8 * cell, linewidth=min(1.0, 8 * cell),
                                 edgecolor=shade, facecolor="white" if root in gone else shade, zorder=2))


def _levels(arcs):
    """A height for each arc (from, to), so that no two of one height lie over the same column."""
    levels = []
    for n, (a, b) in enumerate(arcs):
        taken = {levels[m] for m, (p, q) in enumerate(arcs[:n]) if p < b and a < q}
        levels.append(next(level for level in range(len(arcs)) if level not in taken))
    return levels


def _arcs(axes, arcs, levels, bottom):
    """Lines above the columns, from one to a later one that reads it."""
    for (a, b), level in zip(arcs, levels):
        x, y = (0.5 + COLUMN * a, 0.5 + COLUMN * b), bottom + 0.08 + GAP * level
        axes.plot((x[0] + 0.06, x[0] + 0.06, x[1] - 0.06, x[1] - 0.06), (bottom, y, y, bottom), color="#3d3d3d", linewidth=0.9)
        axes.plot(x[1] - 0.06, bottom, marker="v", color="#3d3d3d", markersize=4)


def _legend(axes, kinds, colour, gone, top):
    """A line a family: its colour, how many groups it has, and its layers; last what grey and hollow cells are."""
    from matplotlib.patches import Rectangle
    lines = []
    for names, roots in kinds.items():
        left = sum(root not in gone for root in roots)
        many = f"{len(roots)} groups" if left == len(roots) else f"{left} of {len(roots)} groups"
        layers = " + ".join(name.removesuffix(".weight") for name in names) or "no filters of their own"
        lines.append((colour[roots[0]], f"{many}: {layers}"))
    for i, (shade, text) in enumerate([*lines, (STAY, "must stay" + "; hollow cells are taken out" * bool(gone))]):
        y = top - LINE * (i + 0.5)
        axes.add_patch(Rectangle((0.35, y - 0.06), 0.2, 0.12, color=shade))
        axes.text(0.65, y, text, ha="left", va="center", fontsize=8)
