"""Pictures a person would rather look at than read: accuracy against cost, and how training went.

Matplotlib is imported inside the functions. Each returns its figure, which `draw.save` writes to a file.
"""
from .canvas import COLOURS, finish, panels, sheet


def place_labels(axes, points, labels, colours):
    """Write each label beside its point, moving it until it covers neither another label nor a point."""
    figure = axes.figure
    figure.canvas.draw()
    where = axes.transData.transform(points)
    frame, taken = axes.get_window_extent(), [(x - 6, y - 6, x + 6, y + 6) for x, y in where]
    for (x, y), label, colour in sorted(zip(where, labels, colours), key=lambda item: -item[0][1]):
        text = axes.annotate(label, (x, y), xycoords="figure pixels", fontsize=9, color=colour)
        box = text.get_window_extent()
        w, h, best = box.width, box.height, None
        for ring in range(1, 9):
            for dx, dy in ((0, -1), (0, 1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)):
                left = x + dx * (14 + 7 * (ring - 1)) - (w if dx < 0 else w / 2 if dx == 0 else 0)
                low = y + dy * (12 + 7 * (ring - 1)) - (h if dy < 0 else h / 2 if dy == 0 else 0)
                spot = (left, low, left + w, low + h)
                inside = frame.x0 + 2 < left and left + w < frame.x1 - 2 and frame.y0 + 2 < low and low + h < frame.y1 - 2
                free = not any(spot[0] < b[2] + 2 and b[0] - 2 < spot[2] and spot[1] < b[3] + 1 and b[1] - 1 < spot[3] for b in taken)
                if inside and free and best is None:
                    best = spot
        best = best or (x + 8, y, x + 8 + w, y + h)
        text.remove()
        taken.append(best)
        offset = ((best[0] - x) * 72 / figure.dpi, (best[1] - y) * 72 / figure.dpi)
        axes.annotate(label, axes.transData.inverted().transform((x, y)), xytext=offset, textcoords="offset points", fontsize=9, color=colour,
                      zorder=4, bbox=dict(boxstyle="round,pad=0.12", facecolor="white", edgecolor="none", alpha=0.85),
                      arrowprops=dict(arrowstyle="-", color=colour, linewidth=0.5, alpha=0.6, shrinkA=0, shrinkB=3) if max(map(abs, offset)) > 40 else None)


def accuracy_against_cost(rows, costs, title="Accuracy against cost"):
    """One panel a cost: every network a labelled point, an arrow of time from the first network to what was made of it.

    rows: dicts with "name", "accuracy" and the keys of `costs`; costs: key -> label of its axis. Cheap and good is at the upper left.
    """
    figure, frames = panels(len(costs))
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(rows))]
    for axes, (key, label) in zip(frames, costs.items()):
        points = [(row[key], 100 * row["accuracy"]) for row in rows]
        for row, point, colour in zip(rows, points, colours):
            if row.get("parent") is not None:
                x, y = points[[r["name"] for r in rows].index(row["parent"])]
                axes.annotate("", point, (x, y), arrowprops=dict(arrowstyle="-|>", color=colour, alpha=0.3, linewidth=1.0, shrinkA=5, shrinkB=5), zorder=1)
            axes.scatter(*point, s=48, color=colour, zorder=3)
        lowest, highest = min(p[1] for p in points), max(p[1] for p in points)
        room = max(1.0, 0.25 * (highest - lowest))
        axes.set_ylim(lowest - room, highest + room)
        axes.set_xlim(0, 1.28 * max(p[0] for p in points))
        finish(axes, title if axes is frames[0] else "", label, "test accuracy (%)")
    for axes, (key, label) in zip(frames, costs.items()):
        place_labels(axes, [(row[key], 100 * row["accuracy"]) for row in rows], [row["name"] for row in rows], colours)
    return figure


def history(histories, title="Training"):
    """Two panels by epoch, training loss and accuracy (of the test pictures where there was validation).

    histories: name -> what train.fit returned, one line each, named in the legend. Returns the figure.
    """
    figure, (left, right) = panels(2, size=(5.2, 3.6))
    for (name, rows), colour in zip(histories.items(), COLOURS):
        epochs = [row["epoch"] for row in rows]
        left.plot(epochs, [row["loss"] for row in rows], marker="o", markersize=3, color=colour, label=name)
        key = "val_accuracy" if "val_accuracy" in rows[0] else "accuracy"
        right.plot(epochs, [100 * row[key] for row in rows], marker="o", markersize=3, color=colour, label=name)
    finish(left, title, "epoch", "training loss")
    finish(right, "", "epoch", "test accuracy (%)" if any("val_accuracy" in rows[0] for rows in histories.values()) else "training accuracy (%)")
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
    left.legend(frameon=False, fontsize=8)
    return figure


def pictures(images, titles=None, columns=10, size=0.9):
    """A sheet of pictures, `columns` in a row: images (N,C,H,W), uint8 or float in [0, 1], one channel (drawn as ink) or three.

    titles: a word over each. size: inches a picture. Returns the figure.
    """
    rows = -(-len(images) // columns)
    figure = sheet(size * min(columns, len(images)), (size + (0.25 if titles else 0)) * rows)
    for i, image in enumerate(images):
        axes = figure.add_subplot(rows, min(columns, len(images)), i + 1)
        axes.imshow(image[0] if len(image) == 1 else image.transpose(1, 2, 0), cmap="gray_r" if len(image) == 1 else None)
        axes.set_axis_off()
        if titles is not None:
            axes.set_title(str(titles[i]), fontsize=7)
    return figure
