"""Quantization in pictures: the staircase of codes, what a scale costs, what bits buy, which layers mind, which bits suffice."""
import numpy as np

from .canvas import COLOURS, finish, panels


def staircase(x, rounded, title="A staircase of codes", names=("x", "x̂")):
    """Two panels over x (N,): x̂ beside x itself, and the error x̂ - x. rounded: name -> x̂ (N,). Returns the figure.

    >>> x = np.linspace(-1, 1, 9)
    >>> [a.get_ylabel() for a in tc.draw.staircase(x, {"two levels": np.sign(x)}).axes]
    ['x̂', 'x̂ - x']
    """
    x = np.asarray(x, np.float64)
    if not rounded or any(np.shape(y) != x.shape or x.ndim != 1 for y in rounded.values()):
        raise ValueError("rounded must hold at least one row as long as x, "
                         f"not {[np.shape(y) for y in rounded.values()]} for {x.shape}")
    order = np.argsort(x)
    figure, (above, below) = panels(2, size=(5.4, 3.9))
    above.plot(x[order], x[order], ":", color="#9a9a9a", linewidth=1)
    for (name, y), colour in zip(rounded.items(), COLOURS):
        y = np.asarray(y, np.float64)
        above.plot(x[order], y[order], color=colour, linewidth=1.4, label=name)
        below.plot(x[order], (y - x)[order], color=colour, linewidth=1.2, label=name)
    finish(above, title, names[0], names[1])
    finish(below, "what is lost", names[0], f"{names[1]} - {names[0]}")
    above.legend(frameon=False, fontsize=9)
    return figure


def error_by_bits(errors, title="What a bit buys", y="root of the mean squared error"):
    """Error on a logarithmic axis over the number of bits, a line a name: errors name -> {bits: error}. Returns the figure.

    A dotted line falls by half a bit, as the step does: where a curve runs beside it nothing saturates.
    """
    if not errors or any(not row or min(row.values()) <= 0 for row in errors.values()):
        raise ValueError("errors must hold at least one name with positive errors by bits")
    figure, (axes,) = panels(1, size=(6.6, 4.2))
    for (name, row), colour, mark in zip(errors.items(), COLOURS, "os^Dv<>p"):
        axes.plot(list(row), list(row.values()), f"{mark}-", color=colour, markersize=9, fillstyle="none", label=name)
    bits = np.array(sorted({b for row in errors.values() for b in row}))
    first = max(row[min(row)] * 2.0 ** (min(row) - bits[0]) for row in errors.values())
    axes.plot(bits, 1.35 * first * 2.0 ** (bits[0] - bits), ":", color="#3d3d3d", linewidth=1, label="half for each bit")
    axes.set_yscale("log")
    axes.set_xticks(bits, [str(b) for b in bits])
    finish(axes, title, "bits", y)
    axes.legend(frameon=False, fontsize=9)
    return figure


def scale_search(widths, rounding, saturation, chosen=None, title="Choosing the range", x="range / largest |x|"):
    """Mean squared error over the width of the range, its two parts and their sum, the least marked; chosen: name -> width.

    widths, rounding, saturation (N,): of values inside the range, and beyond it. Returns the figure.
    """
    widths, rounding, saturation = (np.asarray(a, np.float64) for a in (widths, rounding, saturation))
    if not widths.shape == rounding.shape == saturation.shape or widths.ndim != 1 or not widths.size:
        raise ValueError(f"widths, rounding and saturation must be rows of one length, not {widths.shape}, {rounding.shape}, "
                         f"{saturation.shape}")
    total = rounding + saturation
    figure, (axes,) = panels(1, size=(7.6, 4.2))
    for y, name, colour, style in ((rounding, "rounding, inside the range", COLOURS[0], "--"),
                                   (saturation, "saturation, beyond it", COLOURS[1], "--"), (total, "both", COLOURS[5], "-")):
        axes.plot(widths, np.where(y > 0, y, np.nan), style, color=colour, linewidth=1.4, label=name)
    best = int(np.argmin(total))
    axes.plot(widths[best], total[best], "o", color=COLOURS[5], markersize=7, label=f"least, at {widths[best]:.2f}")
    for (name, width), colour in zip((chosen or {}).items(), COLOURS[2:]):
        axes.axvline(width, color=colour, linewidth=1.2, linestyle="-.", label=f"{name}: {width:.2f}")
    axes.set_yscale("log")
    axes.set_ylim(total.min() / 30, 3 * total.max())
    finish(axes, title, x, "mean squared error")
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def sensitivities(costs, bits=None, title="Which layers mind", x="rise of the loss"):
    """A row a layer, from the first: its cost at each number of bits, costs layer -> {bits: cost}; the chosen bits at the right.

    Logarithmic; costs that are not positive stand at the left edge. Returns the figure.
    """
    if not costs or len({tuple(row) for row in costs.values()}) != 1:
        raise ValueError("costs must hold at least one layer, each with the same choices of bits")
    choices = list(next(iter(costs.values())))
    table = np.array([[row[b] for b in choices] for row in costs.values()], np.float64)
    least = table[table > 0].min() / 2 if (table > 0).any() else 1e-9
    figure, (axes,) = panels(1, size=(7.6, 1.2 + 0.32 * len(costs)))
    for j, (b, colour) in enumerate(zip(choices, COLOURS)):
        axes.plot(np.maximum(table[:, j], least), range(len(costs)), "o", color=colour, alpha=0.85, label=f"{b} bits")
    if bits is not None:
        for i, name in enumerate(costs):
            axes.text(1.01, i, f"{bits[name]} bits", transform=axes.get_yaxis_transform(), va="center", fontsize=9)
    axes.set_xscale("log")
    axes.set_yticks(range(len(costs)), list(costs), fontsize=8)
    axes.set_ylim(len(costs) - 0.5, -0.5)
    finish(axes, title, x)
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncol=len(choices))
    return figure


def bit_table(tables, weight_bits, activation_bits, title="Accuracy by bits"):
    """A panel a table of accuracies (rows weight bits, columns activation bits), each number in its square. Returns the figure.

    tables: name -> array; NaN stands for what was not tried, an empty square.
    """
    shape = (len(weight_bits), len(activation_bits))
    if not tables or any(np.shape(t) != shape for t in tables.values()):
        raise ValueError(f"tables must hold at least one array of shape {shape}, not {[np.shape(t) for t in tables.values()]}")
    figure, frames = panels(len(tables), size=(4.1, 3.7))
    for axes, (name, table) in zip(frames, tables.items()):
        axes.imshow(table, cmap="YlGn", vmin=0.0, vmax=1.15)
        for i, j in np.ndindex(shape):
            if np.isfinite(table[i][j]):
                axes.text(j, i, f"{100 * table[i][j]:.1f}", ha="center", va="center", fontsize=10)
        finish(axes, name, "bits of values", "bits of weights")
        axes.grid(False)
        axes.set_xticks(range(shape[1]), [str(b) for b in activation_bits])
        axes.set_yticks(range(shape[0]), [str(b) for b in weight_bits])
    figure.suptitle(title, fontsize=12, x=0.01, ha="left")
    return figure
