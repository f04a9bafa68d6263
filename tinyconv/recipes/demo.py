"""The main job: one network on real pictures, trained, then made smaller in five ways, each measured as it really is.

train -> prune filters to half the MACs, fine-tune -> int8, integers only -> low-rank factors, fine-tune -> distil into a smaller student.
Accuracy is on the 2,000 test pictures; bytes are lengths of the files written; milliseconds are medians of alternating runs.
"""
import time
from pathlib import Path

from .. import apply, cost, data, draw, graph, models, train
from .measuring import milliseconds_per_image

UNTUNED = "pruned, not tuned"          # in the table, to show what fine-tuning is worth; far below the figure
COLUMNS = (("network", "{}"), ("accuracy", "{:.4f}"), ("parameters", "{:,}"), ("MACs", "{:,}"), ("file bytes", "{:,}"), ("ms/image", "{:.3f}"))


def run(out="demo", quick=False, seed=0, progress=True, say=print):
    """Run the demo; returns {"rows": the table, "files": name -> path, "figure": path, "histories": name -> epochs, "seconds": …}.

    out: the folder for the networks and the figure. quick: fewer pictures and epochs, to see that everything runs (accuracy suffers).
    Errors: ValueError from any part; files are written whole or not at all.
    """
    begin, out = time.perf_counter(), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    images, labels = data.fashion("train")
    test = data.fashion("test")
    if quick:
        images, labels, test = images[:1500], labels[:1500], (test[0][::4], test[1][::4])
    epochs = (lambda n: 1) if quick else (lambda n: n)
    shared = dict(seed=seed, progress=progress, augment=augment, label_smoothing=0.05, batch_size=128)
    histories = {}

    def heading(text):
        say(f"\n{text}   [{time.perf_counter() - begin:.0f} s]")

    heading(f"1  train mobilenet_v2_small on {len(images):,} pictures of clothing")
    model = models.mobilenet_v2_small(rng=seed)
    histories["base"] = train.fit(model, images, labels, epochs=epochs(7), lr=0.15, validation=test, **shared)
    base = graph.trace(model, (1, 1, 28, 28))
    networks = {"base": base}

    heading("2  prune filters (L1, every layer alike) to half the multiply-adds, fine-tune")
    pruned = apply.prune(base, macs=cost.macs(base) // 2, criterion="l1", scope="uniform")
    networks[UNTUNED] = pruned
    networks["pruned"] = tune(pruned, images, labels, epochs(4), 0.05, test, shared, histories, "pruned")

    heading("3  int8, integers from the first layer to the last")
    networks["int8"] = apply.quantize(base, images[:500])
    networks["pruned + int8"] = apply.quantize(networks["pruned"], images[:500])

    heading("4  low-rank factors where they lose least, to 78% of the multiply-adds, fine-tune")
    networks["low rank"] = tune(apply.lowrank(base, macs=cost.macs(base) * 78 // 100), images, labels, epochs(2), 0.03, test, shared, histories, "low rank")

    heading("5  distil into a smaller student, mobilenet_v1_small at half width")
    student = models.mobilenet_v1_small(width_mult=0.5, rng=seed)
    options = {key: value for key, value in shared.items() if key != "label_smoothing"}
    apply.distill(student, base, images, labels, temperature=2.0, weight=0.7, epochs=epochs(6), lr=0.15, validation=test, history=histories.setdefault("student", train.History()), **options)
    networks["student"] = graph.trace(student, (1, 1, 28, 28))

    heading("measuring: files, accuracy, time")
    rows = table(networks, test, out)
    files = {row["network"]: row.pop("path") for row in rows}
    figure = out / "demo.png"
    draw.save(draw.accuracy_against_cost(
        [dict(name=row["network"], accuracy=row["accuracy"], kilobytes=row["file bytes"] / 1000, megamacs=row["MACs"] / 1e6,
              parent=None if row["network"] == "base" else "base") for row in rows if row["network"] != UNTUNED],
        {"kilobytes": "file on disk (thousand bytes)", "megamacs": "million multiply-adds an image"},
        title="One network, made smaller: accuracy against size and work"), figure)
    seconds = time.perf_counter() - begin
    say("\n" + as_text(rows))
    say(notes(rows))
    say(f"\nfigure: {figure}   networks: {out}/*.safetensors   {seconds:.0f} s in all")
    return {"rows": rows, "files": files, "figure": figure, "histories": histories, "seconds": seconds}


def augment(images, rng):
    """Half of the pictures mirrored, all shifted by up to one pixel."""
    return data.random_flip(data.random_crop(images, rng, padding=1), rng)


def tune(g, images, labels, epochs, lr, test, shared, histories, name):
    """Fine-tune a graph and keep its history under `name`."""
    return apply.finetune(g, images, labels, epochs=epochs, lr=lr, validation=test, history=histories.setdefault(name, train.History()), **shared)


def table(networks, test, out):
    """One row a network: saved, loaded again from its file, and what was loaded is what is measured."""
    rows, loaded = [], {}
    for name, g in networks.items():
        path = out / f"{name.replace(' + ', '-').replace(', ', '-').replace(' ', '-')}.safetensors"
        file_bytes = graph.save(path, g)
        loaded[name] = graph.load(path).graph
        counted = cost.summary(loaded[name])
        numbers = counted.params or sum(a.size for a in loaded[name].arrays().values())
        rows.append({"network": name, "accuracy": train.accuracy(loaded[name], *test), "parameters": numbers, "MACs": counted.macs,
                     "file bytes": file_bytes, "path": path})
    times = milliseconds_per_image(loaded, test[0])
    return [{**row, "ms/image": times[row["network"]]} for row in rows]


def as_text(rows, columns=COLUMNS):
    """The table, for a terminal; columns: (name, its format) from left to right."""
    cells = [[name for name, _ in columns]] + [[form.format(row[name]) for name, form in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    lines = ["  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths))) for line in cells]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def notes(rows):
    """What a reader should see in the table, in words that are computed from it: which networks take less time than base, and which
    are smaller without being faster (less than a twentieth of base's time saved)."""
    base = rows[0]
    faster = [row["network"] for row in rows[1:] if row["ms/image"] < 0.95 * base["ms/image"]]
    slower = [row["network"] for row in rows[1:] if row["ms/image"] >= 0.95 * base["ms/image"]]
    lines = ["", f"faster than base: {', '.join(faster) or 'none'}"]
    if slower:
        lines.append(f"smaller but not faster here: {', '.join(slower)}")
    return "\n".join(lines)
