"""Bytes in pictures: what each stage of a compression leaves, what of it is which part, and what was claimed."""
from .canvas import finish, panels
from .comparing import SHARES


def ledger(stages, claimed=None, title="Bytes, stage by stage", x="bytes"):
    """A bar a stage, its parts end to end; behind it the sum and how many times smaller than the first it is, measured and claimed.

    stages: stage -> {part: bytes}, all with the same parts; claimed: stage -> factor. Returns the figure. Errors: ValueError for
    stages with different parts, negative bytes, or a claim for a stage that there is not.

    >>> figure = tc.draw.ledger({"float": {"weights": 400, "header": 100}, "int8": {"weights": 100, "header": 100}}, {"int8": 4})
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['500', '200: 2.5 times smaller, claimed 4']
    """
    claimed = claimed or {}
    if not stages or len({tuple(parts) for parts in stages.values()}) != 1 or any(b < 0 for p in stages.values() for b in p.values()):
        raise ValueError(f"stages must have the same parts, none negative, at least one stage, not {stages}")
    if set(claimed) - set(stages):
        raise ValueError(f"claimed must name stages ({', '.join(stages)}), not {', '.join(map(str, claimed))}")
    figure, (axes,) = panels(1, size=(9.6, 1.4 + 0.45 * len(stages)))
    sums = {stage: sum(parts.values()) for stage, parts in stages.items()}
    first = next(iter(sums.values()))
    for i, (stage, parts) in enumerate(stages.items()):
        left = 0
        for bytes_, colour in zip(parts.values(), SHARES):
            axes.barh(i, bytes_, left=left, height=0.7, color=colour)
            left += bytes_
        words = f": {first / sums[stage]:.1f} times smaller" if i else ""
        words += f", claimed {claimed[stage]:g}" if stage in claimed else ""
        axes.text(left + 0.01 * max(sums.values()), i, f"{sums[stage]:,.0f}{words}", va="center", fontsize=9)
    for part, colour in zip(next(iter(stages.values())), SHARES):
        axes.plot([], [], "s", color=colour, label=part)
    finish(axes, title, x)
    axes.set_yticks(range(len(stages)), list(stages))
    axes.set_ylim(len(stages) - 0.5, -0.5)
    axes.set_xlim(0, 1.16 * max(sums.values()))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=len(next(iter(stages.values()))), handletextpad=0.2)
    return figure
