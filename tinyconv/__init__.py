"""tinyconv: the lightweight-CNN textbook that runs. NumPy and numba, from the formula to the compressed network.

    import tinyconv as tc
    model = tc.models.mobilenet_v2_small()                  # a network: modules, as in PyTorch
    tc.train.fit(model, images, labels, epochs=8)
    g = tc.trace(model, (1, 1, 28, 28))                     # the network as data
    small = tc.apply.finetune(tc.apply.prune(g, 0.5), images, labels)
    tc.save("small.safetensors", tc.Network(small))

The floors of the house, from the ground up: formulas, kernels and compress, tensor and ops and functional, nn, graph and models
and data and train, cost and apply, draw, recipes and the commands. Rooms are loaded when they are first asked for:
importing tinyconv loads neither numba nor matplotlib, and compiles nothing.
"""
import importlib

__version__ = "0.1.0"

ROOMS = ("apply", "cli", "compress", "cost", "data", "draw", "formulas", "functional", "graph", "io", "kernels", "models", "nn",
         "ops", "optim", "recipes", "train")
NAMES = {
    "Tensor": "tensor", "no_grad": "tensor", "gradcheck": "gradient_check", "trace": "graph", "Network": "graph", "Graph": "graph",
    "save": "graph", "load": "graph", "set_num_threads": "kernels", "get_num_threads": "kernels", "use": "kernels",
}

__all__ = ["__version__", *ROOMS, *NAMES]


def __getattr__(name):
    """Rooms and public names, loaded when first asked for."""
    if name in ROOMS:
        return importlib.import_module(f".{name}", __name__)
    if name in NAMES:
        value = globals()[name] = getattr(importlib.import_module(f".{NAMES[name]}", __name__), name)
        return value
    raise AttributeError(f"module 'tinyconv' has no attribute {name!r}")


def __dir__():
    return sorted(set(__all__) | set(globals()))
