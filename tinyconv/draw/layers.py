"""What is inside a network: the maps that its layers make of a picture, the filters that make them, and which input channels an
output channel can see at all.
"""
import numpy as np

from ..graph import run
from .canvas import finish, panels, sheet


def _symmetric(image, axes):
    """Weights in blue and red, 0 white."""
    most = float(np.abs(image).max()) or 1.0
    axes.imshow(image, cmap="RdBu_r", vmin=-most, vmax=most)


def kernels(weight, most=64, columns=16, title=""):
    """The filters of a convolution as pictures: weight (F,C/G,KH,KW), the first `most` of them.

    Three channels are drawn as colours (0 is grey, each filter on its own scale), one as red and blue around white, others one
    picture a channel, a row a filter. Returns the figure. Errors: ValueError for a weight that has not four axes.
    """
    w = np.asarray(weight)
    if w.ndim != 4 or not w.size:
        raise ValueError(f"weight must have four axes (F,C/G,KH,KW), none empty, not shape {w.shape}")
    if w.shape[1] in (1, 3):
        rows = w[:most]
        grid = [[rows[i + j] if i + j < len(rows) else None for j in range(min(columns, len(rows)))]
                for i in range(0, len(rows), columns)]
    else:
        grid = [[channel[None] for channel in filter[:columns]] for filter in w[:max(1, most // min(columns, w.shape[1]))]]
    figure = sheet(max(0.55 * len(grid[0]), 2.5), 0.55 * len(grid) + 0.35 * bool(title))
    for i, row in enumerate(grid):
        for j, image in enumerate(row):
            axes = figure.add_subplot(len(grid), len(grid[0]), i * len(grid[0]) + j + 1)
            axes.set_xticks([])
            axes.set_yticks([])
            if image is None:
                axes.set_axis_off()
            elif len(image) == 3:
                axes.imshow(0.5 + 0.5 * image.transpose(1, 2, 0) / (np.abs(image).max() or 1.0))
            else:
                _symmetric(image[0], axes)
    if title:
        figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    return figure


def feature_maps(graph, picture, layers=None, most=8, title=""):
    """What layers make of one picture (C,H,W): a row a layer, its first `most` channels, each on a scale of its own.

    layers: module names as the graph's nodes have them (None: up to eight of the convolutions, from the first to the last).
    Returns the figure. Errors: ValueError for a name that the graph has not, naming those it has.
    """
    names = [node.module for node in graph.nodes if node.op in ("conv2d", "qconv2d")]
    if layers is None:
        chosen = [names[round(i)] for i in np.linspace(0, len(names) - 1, min(8, len(names)))]
    else:
        chosen = list(layers)
    maps = {}

    def look(node, outputs):
        if node.module in chosen and np.ndim(outputs[0]) == 4:
            maps[node.module] = np.asarray(outputs[0][0], np.float32)                     # of a module's operations the last
    run(graph, np.asarray(picture)[None], each=look)
    missing = [name for name in chosen if name not in maps]
    if missing or not chosen:
        known = ", ".join(dict.fromkeys(node.module for node in graph.nodes if node.module))
        raise ValueError(f"layers must name modules that make maps, not {', '.join(missing) or 'none'}; the graph has {known}")
    figure = sheet(1.0 * most + 1.9, 1.0 * len(chosen) + 0.35 * bool(title))
    grid = figure.subplots(len(chosen), most, squeeze=False)
    for row, name in zip(grid, chosen):
        for j, axes in enumerate(row):
            axes.set_axis_off()
            if j < len(maps[name]):
                axes.imshow(maps[name][j], cmap="viridis")
        c, h, w = maps[name].shape
        row[0].text(-0.1, 0.5, f"{name}\n{c} of {h}×{w}", transform=row[0].transAxes, ha="right", va="center", fontsize=8)
    if title:
        figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    return figure


def attention_maps(images, maps, title=""):
    """Where attention looks: a column a picture, the picture above, below it a row for each map, its factors laid over the ink.

    images: (N,C,H,W), uint8 or float in [0, 1]; maps: name -> factors (N,h,w) in [0, 1], of any h and w, drawn as large as the
    picture. All maps share one scale, from 0 (blue) to 1 (red), shown at the right. Returns the figure.
    Errors: ValueError for maps that are not one for each picture.

    >>> images = tc.data.fashion("test")[0][:3]
    >>> len(tc.draw.attention_maps(images, {"even": np.full((3, 7, 7), 0.5)}).axes)              # 2 rows of 3, and the scale
    7
    """
    wrong = [f"{name} {np.shape(a)}" for name, a in maps.items() if np.ndim(a) != 3 or len(a) != len(images)]
    if wrong or not maps:
        raise ValueError(f"maps must hold factors ({len(images)},h,w), one for each picture, not {', '.join(wrong) or 'none'}")
    n, (h, w) = len(images), images.shape[2:]
    figure = sheet(0.95 * n + 1.7, 0.95 * (1 + len(maps)) + 0.35 * bool(title))
    grid = figure.subplots(1 + len(maps), n, squeeze=False)
    for j, image in enumerate(images):
        ink = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
        grid[0][j].imshow(ink, cmap="gray_r" if ink.ndim == 2 else None)
        for axes, a in zip(grid[1:, j], maps.values()):
            drawn = axes.imshow(a[j], cmap="RdYlBu_r", vmin=0, vmax=1, extent=(-0.5, w - 0.5, h - 0.5, -0.5))
            axes.contour(ink if ink.ndim == 2 else ink.mean(axis=2), [0.5 * ink.max()], colors="#3d3d3d", linewidths=0.6)
    for row, name in zip(grid, ("picture", *maps)):
        row[0].text(-0.1, 0.5, name, transform=row[0].transAxes, ha="right", va="center", fontsize=8)
        for axes in row:
            axes.set_axis_off()
    figure.colorbar(drawn, ax=grid[1:].ravel().tolist(), shrink=0.8, label="factor")
    if title:
        figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    return figure


def channel_paths(graph):
    """How many ways lead from each input channel to each output channel: (F,C) float64, taps counted, 0 where none does.

    The graph is run once with every weight 1, no bias and BatchNorm as the identity, on C pictures of which the c-th has ones in
    channel c alone: what arrives is what a channel can reach. Nothing is negative, so activations let it pass; of a product
    (squeeze and excitation) the factor's own ways are not counted. Cost: one run on a batch of C in float64.

    >>> from tinyconv.draw.layers import channel_paths
    >>> g = tc.trace(tc.nn.Conv2d(4, 4, 1, groups=2, rng=0), (1, 4, 3, 3), check=False)
    >>> channel_paths(g).tolist()
    [[9.0, 9.0, 0.0, 0.0], [9.0, 9.0, 0.0, 0.0], [0.0, 0.0, 9.0, 9.0], [0.0, 0.0, 9.0, 9.0]]
    """
    (name, (c, *plane)), = graph.inputs.items()
    ones = {key: np.ones(a.shape) if a.ndim > 1 else np.zeros(a.shape) for key, a in graph.arrays().items()}
    for node in graph.nodes:
        if node.op == "batch_norm":
            values = (1.0, 0.0, 0.0, 1 - node.attributes.get("eps", 1e-5))                       # γ, β, mean, variance
            ones.update({key: np.full(graph.array(key).shape, value) for key, value in zip(node.inputs[1:5], values) if key})
    x = np.zeros((c, c, *plane))
    x[np.arange(c), np.arange(c)] = 1
    y = run(graph, x, values=ones)
    return y.reshape(c, y.shape[1], -1).sum(axis=2).T


def channel_dependency(graphs, title="Which input channels an output channel sees"):
    """One panel a network: a dark cell where the output channel (row) depends on the input channel (column), by `channel_paths`.

    graphs: name -> Graph of one input (C,H,W) and one output (F,H,W). Under each panel: the part of all pairs that is joined.
    Returns the figure. Errors: ValueError for no graphs, or several inputs or outputs.

    >>> g = tc.trace(tc.nn.Conv2d(4, 4, 1, groups=2, rng=0), (1, 4, 3, 3), check=False)
    >>> tc.draw.channel_dependency({"two groups": g}).axes[0].get_xlabel()
    'input channel; 50 % of pairs joined'
    """
    if not graphs or any(len(g.inputs) != 1 or len(g.outputs) != 1 for g in graphs.values()):
        raise ValueError("graphs must hold at least one, each of one input and one output; "
                         f"they are {', '.join(graphs) or 'none'}")
    figure, frames = panels(len(graphs), size=(3.6, 3.9))
    for axes, (name, g) in zip(frames, graphs.items()):
        joined = channel_paths(g) > 0
        axes.imshow(joined, cmap="Blues", vmin=0, vmax=1.25, interpolation="nearest", aspect="auto")
        finish(axes, name, f"input channel; {100 * joined.mean():.0f} % of pairs joined",
               "output channel" if axes is frames[0] else "")
        axes.grid(False)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    return figure
