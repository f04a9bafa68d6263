"""Networks and expressions as boxes and arrows.

`arrows` lays out any small graph without cycles from left to right; `network` draws a Graph as a row of bars, one a layer, as tall as it
has channels: where a network is wide and where it is narrow can be seen at once.
"""
from .canvas import sheet

KINDS = {"convolution": "#6a4c93", "depthwise": "#edae49", "pointwise 1×1": "#1b6ca8", "linear": "#d1495b", "other": "#9a9a9a"}
MERGED = ("batch_norm", "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu", "hardsigmoid", "hardswish", "clip", "dropout", "flatten",
          "fake_quantize", "quantize", "dequantize")
CHARACTER, LINE, GAP = 0.085, 0.19, 0.75        # inches: width of a letter, height of a line, room for an arrow


# ---- any small graph -------------------------------------------------------------------------------------------------

def _ranks(names, edges):
    """name -> column: one more than the furthest of those it comes from; what comes from nothing stands just before its first reader."""
    before = {name: [a for a, b in edges if b == name] for name in names}
    after = {name: [b for a, b in edges if a == name] for name in names}
    rank = {}
    while len(rank) < len(names):
        ready = [n for n in names if n not in rank and all(b in rank for b in before[n])]
        if not ready:
            raise ValueError(f"edges must not run in a circle, but they do among {', '.join(n for n in names if n not in rank)}")
        rank.update({n: max((rank[b] + 1 for b in before[n]), default=0) for n in ready})
    for name in names:
        if not before[name] and after[name]:
            rank[name] = min(rank[b] for b in after[name]) - 1
    return rank


def _columns(names, edges, rank):
    """(columns of names and of bends of long edges, list of paths): each column ordered so that few arrows cross."""
    columns = [[n for n in names if rank[n] == r] for r in range(max(rank.values()) + 1)]
    paths = []
    for a, b in edges:
        bends = [(a, b, r) for r in range(rank[a] + 1, rank[b])]
        for bend in bends:
            columns[bend[2]].append(bend)
        paths.append([a, *bends, b])
    steps = [pair for path in paths for pair in zip(path, path[1:])]
    for sweep in range(6):
        place = {n: i - (len(column) - 1) / 2 for column in columns for i, n in enumerate(column)}
        for column in columns:
            near = {n: [place[a if b == n else b] for a, b in steps if n in (a, b) and (sweep % 2 or b == n)] for n in column}
            column.sort(key=lambda n: sum(near[n]) / len(near[n]) if near[n] else place[n])
    return columns, paths


def arrows(labels, edges, colours=None):
    """Boxes and arrows from left to right: labels name -> text (several lines are fine), edges (from, to) or (from, to, text).

    colours: name -> colour of a box's frame. Meant for up to some twenty boxes. Returns the figure.
    Errors: ValueError for an edge to a name without label, and for a circle.

    >>> tc.draw.arrows({"a": "a", "b": "b = a²"}, [("a", "b", "2a")]).axes[0].texts[1].get_text()
    'b = a²'
    """
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
    from matplotlib.path import Path
    unknown = [name for edge in edges for name in edge[:2] if name not in labels]
    if unknown or not labels:
        raise ValueError(f"edges must join names that have labels, not {', '.join(map(str, unknown)) or 'none at all'}")
    columns, paths = _columns(list(labels), [edge[:2] for edge in edges], _ranks(list(labels), [edge[:2] for edge in edges]))
    size = {n: (0.25 + CHARACTER * max(map(len, t.split("\n"))), 0.16 + LINE * len(t.split("\n"))) for n, t in labels.items()}
    room = max(GAP, 0.35 + max([CHARACTER * len(edge[2]) for edge in edges if len(edge) > 2], default=0))
    height = max(sum(size.get(n, (0, 0.2))[1] + 0.35 for n in column) for column in columns)
    centre, x = {}, 0.15
    for column in columns:
        width = max(size.get(n, (0, 0))[0] for n in column)
        share = height / len(column)
        centre.update({n: (x + width / 2, height - share * (i + 0.5)) for i, n in enumerate(column)})
        x += width + room
    figure = sheet(x - room + 0.15, height, layout=None)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, x - room + 0.15), ylim=(0, height))     # one unit is one inch
    axes.set_axis_off()
    for name, text in labels.items():
        (cx, cy), (w, h) = centre[name], size[name]
        axes.add_patch(FancyBboxPatch((cx - w / 2, cy - h / 2), w, h, boxstyle="round,pad=0,rounding_size=0.08", facecolor="#f7f7f4",
                                      edgecolor=(colours or {}).get(name, "#3d3d3d"), linewidth=1.3))
        axes.text(cx, cy, text, ha="center", va="center", fontsize=10)
    for edge, path in zip(edges, paths):
        points = [centre[n] for n in path]
        points[0] = (points[0][0] + size[path[0]][0] / 2, points[0][1])
        points[-1] = (points[-1][0] - size[path[-1]][0] / 2, points[-1][1])
        axes.add_patch(FancyArrowPatch(path=Path(points), arrowstyle="-|>", mutation_scale=12, color="#3d3d3d", linewidth=1.1))
        if len(edge) > 2:
            (ax, ay), (bx, by) = points[len(points) // 2 - 1:][:2]
            axes.text((ax + bx) / 2, (ay + by) / 2, edge[2], ha="center", va="center", fontsize=9, color="#d1495b",
                      bbox=dict(boxstyle="round,pad=0.1", facecolor="white", edgecolor="none"))
    return figure


# ---- a network -------------------------------------------------------------------------------------------------------

def _kind(node, shapes):
    """(kind, text) of a layer's bar."""
    op = node.op.removeprefix("q")
    if op == "conv2d":
        kh, kw = shapes[node.inputs[1]][2:]
        stride = node.attributes.get("stride", 1)
        stride = max(stride) if isinstance(stride, (list, tuple)) else stride
        text = f"{kh}×{kw}" + (f", stride {stride}" if stride > 1 else "")
        if node.attributes.get("groups", 1) > 1:
            return "depthwise", text
        return ("pointwise 1×1" if kh == kw == 1 else "convolution"), text
    return ("linear" if op == "linear" else "other"), {"adaptive_avg_pool2d": "average", "global_average_pool": "average"}.get(op, op)


def _bars(graph, shapes):
    """The layers as bars: [kind, text, channels, plane, bars it reads]; what follows a layer alone is part of it."""
    readers, home, bars = graph.consumers(), {}, []
    for name in graph.inputs:
        home[name] = len(bars)
        bars.append(["other", "input", shapes[name][1], tuple(shapes[name][2:]), []])
    for node in graph.nodes:
        sources = [home[v] for v in node.values() if v in home]
        if node.op in MERGED and sources and len(readers[node.inputs[0]]) == 1:
            home.update(dict.fromkeys(node.outputs, sources[0]))
            continue
        shape = shapes[node.outputs[0]]
        home.update(dict.fromkeys(node.outputs, len(bars)))
        bars.append([*_kind(node, shapes), shape[1] if len(shape) > 1 else 1, tuple(shape[2:]), sources])
    return bars


def network(graph, title="", tallest=None):
    """A Graph as a row of bars, one a layer, as tall as it has channels; BatchNorm and activations belong to the bar before them.

    Above a bar its channels, below it what it is and the plane it makes; what is read further on than by the next bar is an arc: a
    residual. tallest: how many channels fill the height (the graph's own most, if None), to draw two networks on one scale.
    Good for up to some sixty layers. Returns the figure.
    """
    from matplotlib.patches import FancyArrowPatch, Patch, Rectangle

    from ..graph import shapes
    bars = _bars(graph, shapes(graph))
    step, wide, tall = 0.44, 0.27, 2.0
    unit = tall / (tallest or max(bar[2] for bar in bars))
    width, height, middle = 0.6 + step * len(bars), 5.1, 2.75
    figure = sheet(max(width, 6.5), height, layout=None)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, max(width, 6.5)), ylim=(0, height))     # one unit is one inch
    axes.set_axis_off()
    at = lambda i: 0.5 + step * i
    for i, (kind, text, channels, plane, sources) in enumerate(bars):
        h = unit * channels
        axes.add_patch(Rectangle((at(i) - wide / 2, middle - h / 2), wide, h, color=KINDS[kind]))
        axes.text(at(i), middle + h / 2 + 0.04, channels, ha="center", va="bottom", fontsize=8)
        axes.text(at(i), middle - tall / 2 - 0.12, text, ha="center", va="top", fontsize=8, rotation=90)
        for j in sources:
            if j == i - 1:
                axes.add_patch(FancyArrowPatch((at(j) + wide / 2, middle), (at(i) - wide / 2, middle), arrowstyle="-|>", mutation_scale=6,
                                               color="#3d3d3d", linewidth=0.8, shrinkA=0, shrinkB=0))
            else:
                top = max(unit * bar[2] for bar in bars[j:i + 1]) / 2 + 0.28
                x = (at(j), at(j), at(i), at(i))
                y = (middle + unit * bars[j][2] / 2 + 0.2, middle + top, middle + top, middle + unit * channels / 2 + 0.2)
                axes.plot(x, y, color="#2e933c", linewidth=1.2)
                axes.plot(x[-1], y[-1], marker="v", color="#2e933c", markersize=5)
    _planes(axes, [bar[3] for bar in bars], at, wide)
    present = [kind for kind in KINDS if any(bar[0] == kind for bar in bars)]
    handles = [Patch(color=KINDS[kind], label=kind) for kind in present]
    if any(j < i - 1 for i, bar in enumerate(bars) for j in bar[4]):
        from matplotlib.lines import Line2D
        handles.append(Line2D([], [], color="#2e933c", marker="v", markersize=5, label="residual"))
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.01, 0.94), ncols=len(handles), frameon=False, fontsize=8.5)
    axes.text(0.15, height - 0.08, title, ha="left", va="top", fontsize=11)
    return figure


def _planes(axes, planes, at, wide):
    """Brackets below the bars: which of them make planes of one size."""
    first = 0
    for i in range(1, len(planes) + 1):
        if i == len(planes) or planes[i] != planes[first]:
            if planes[first]:
                axes.plot((at(first) - wide / 2, at(i - 1) + wide / 2), (0.45, 0.45), color="#3d3d3d", linewidth=1)
                axes.text((at(first) + at(i - 1)) / 2, 0.37, "×".join(map(str, planes[first])), ha="center", va="top", fontsize=8)
            first = i
