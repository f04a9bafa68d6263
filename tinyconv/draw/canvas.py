"""The sheet that pictures are drawn on: a figure that needs no screen and shows itself in a notebook.

Matplotlib is imported inside the functions, so that nobody who draws nothing waits for it.
"""
import io

COLOURS = ("#1b6ca8", "#d1495b", "#2e933c", "#edae49", "#6a4c93", "#3d3d3d", "#0b7a75", "#b36a5e")


def as_png(figure):
    """The figure as the bytes of a PNG file, at its own dots per inch."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", facecolor="white")
    return stream.getvalue()


def sheet(width, height, layout="constrained"):
    """An empty figure of that many inches. As the last value of a notebook's cell it is shown, whatever back end is set."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    figure = Figure(figsize=(width, height), dpi=100, layout=layout)
    FigureCanvasAgg(figure)
    figure._repr_png_ = lambda: as_png(figure)          # what a notebook asks an object for
    return figure


def panels(columns=1, rows=1, size=(6.4, 4.4), **options):
    """(figure, list of axes): columns × rows panels of `size` inches each. Options: matplotlib's subplots (sharex, sharey, …).

    >>> figure, (left, right) = tc.draw.panels(2)
    >>> figure.get_size_inches().tolist()
    [12.8, 4.4]
    """
    figure = sheet(size[0] * columns, size[1] * rows)
    return figure, list(figure.subplots(rows, columns, squeeze=False, **options).ravel())


def finish(axes, title="", x="", y=""):
    """Title at the left, names of the axes, a faint grid, no frame above and to the right."""
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(True, linewidth=0.5, alpha=0.35)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def save(figure, path):
    """Write a figure to a file; the ending names the kind (.png, .svg, .pdf). Returns the path as text."""
    figure.savefig(path, dpi=150)
    return str(path)
