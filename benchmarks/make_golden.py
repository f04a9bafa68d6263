"""How tests/torchvision.npz was made: python benchmarks/make_golden.py [NETWORK …], with torch and torchvision installed.

For each network torchvision.models has under the same name: the names and shapes of its state_dict (without the counters
`num_batches_tracked`), and 40 of its scores for one picture of 64x64 in evaluation mode, on the weights that tests/golden.py
computes from names and shapes. Networks that are not named keep what the file says of them.
"""
import pathlib
import sys

import torch
import torchvision

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import golden  # noqa: E402
from tinyconv.io import read_npz, write_npz  # noqa: E402
from tinyconv.models import NETWORKS  # noqa: E402


def look(network):
    """(shapes by name, scores) of torchvision's network on the golden weights."""
    model = getattr(torchvision.models, network)(weights=None).eval()
    state = model.state_dict()
    shapes = {name: tuple(p.shape) for name, p in state.items() if not name.endswith("num_batches_tracked")}
    with torch.no_grad():
        for name, array in golden.weights(shapes).items():
            state[name].copy_(torch.from_numpy(array))
        return shapes, model(torch.from_numpy(golden.picture())).numpy()[:, golden.SHOWN]


def main(chosen):
    """Write what torchvision says about the networks chosen, or about all it has."""
    arrays = read_npz(golden.PATH) if chosen and golden.PATH.exists() else {}
    for network in chosen or [name for name in NETWORKS if hasattr(torchvision.models, name)]:
        shapes, scores = look(network)
        arrays[f"{network}/state"], arrays[f"{network}/logits"] = golden.as_text(shapes), scores
        print(f"{network}: {len(shapes)} entries, scores from {scores.min():.4g} to {scores.max():.4g}", flush=True)
    write_npz(golden.PATH, arrays)
    versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}"
    print(f"{golden.PATH.name}: {golden.PATH.stat().st_size:,} bytes, {versions}")


if __name__ == "__main__":
    main(sys.argv[1:])
