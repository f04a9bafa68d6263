"""The roofline: what a machine allows, and where the layers of a network stand under it."""
import numpy as np

from .canvas import COLOURS, finish, panels

COLOUR = {"convolution": COLOURS[4], "grouped": COLOURS[2], "depthwise": COLOURS[3], "pointwise": COLOURS[0],
          "linear": COLOURS[1]}
OTHER = "#9a9a9a"


def _kind(layer):
    word = layer.kind.removeprefix("q").split(" ")[0]
    return word if word in COLOUR else "other"


def roofline(placement, title="Layers under the roofline"):
    """Two panels of a `cost.place(…)` that was measured: FLOP/s by FLOP a byte under the roof, and measured time by least time.

    Left: the roof is min(peak, intensity · bandwidth), one slope for memory and one for caches; a layer is as high as it ran.
    Right: on the diagonal a layer takes no longer than it must. Larger dots take more of the network's time. Returns the figure.
    Errors: ValueError for a placement without measured times or without a machine.
    """
    machine, layers = placement.machine, [layer for layer in placement.layers if layer.flop]
    if placement.seconds is None or isinstance(machine, str) or not layers:
        raise ValueError("placement must be measured on a machine: cost.place(g) with rounds of at least 1 and no limits given")
    figure, (left, right) = panels(2, size=(6.2, 4.6))
    peak = machine.peak_flops_per_second
    slopes = {"memory": machine.memory_bytes_per_second, "caches": machine.cache_bytes_per_second}
    x = np.geomspace(min(0.5 * min(layer.intensity for layer in layers), 0.1 * peak / slopes["caches"]),
                     2 * max(peak / slopes["memory"], *(layer.intensity for layer in layers)), 200)
    for (name, slope), style in zip(slopes.items(), ("-", "--")):
        left.plot(x, np.minimum(peak, slope * x) / 1e9, style, color="#3d3d3d", linewidth=1.3,
                  label=f"{slope / 1e9:.0f} GB/s from {name}")
    left.text(x[-1], peak / 1e9 * 1.08, f"peak {peak / 1e9:.0f} GFLOP/s", ha="right", va="bottom", fontsize=9)
    least = [layer.least_seconds * 1e6 for layer in layers]
    ends = np.array([min(least) / 2, 2 * max(least)])
    right.plot(ends, ends, "-", color="#3d3d3d", linewidth=1.3, label="as fast as the machine allows")
    right.plot(ends, 4 * ends, ":", color="#3d3d3d", linewidth=1.0, label="four times as long")
    for kind in dict.fromkeys([*COLOUR, "other"]):
        rows = [layer for layer in layers if _kind(layer) == kind]
        style = dict(s=[20 + 600 * layer.seconds / placement.seconds for layer in rows], color=COLOUR.get(kind, OTHER),
                     alpha=0.75, linewidths=0)
        if rows:
            left.scatter([layer.intensity for layer in rows], [layer.flop / layer.seconds / 1e9 for layer in rows], **style,
                         label=kind, zorder=3)
            right.scatter([layer.least_seconds * 1e6 for layer in rows], [layer.seconds * 1e6 for layer in rows], **style,
                          zorder=3)
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_yscale("log")
    finish(left, title, "FLOP a byte moved", "GFLOP/s")
    finish(right, "", "least time by the roofline (µs)", "measured time (µs)")
    left.set_ylim(None, 2.2 * peak / 1e9)
    legend = left.legend(frameon=False, fontsize=8, loc="lower right")
    for handle in legend.legend_handles[2:]:
        handle.set_sizes([36])
    right.legend(frameon=False, fontsize=8, loc="lower right")
    return figure
