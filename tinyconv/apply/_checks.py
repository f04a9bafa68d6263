"""What every transform refuses first, in one place."""
from ..graph import Graph

SCOPES = ("global", "uniform")


def check_graph(g):
    """A transform takes a Graph. Errors: TypeError saying how to get one."""
    if not isinstance(g, Graph):
        raise TypeError(f"g must be a Graph (tc.trace a model, or net.graph of a Network), not {type(g).__name__}")


def layer_weights(g):
    """name -> weight of every convolution and linear layer whose weight is an array of the graph, each once, in order."""
    names = [node.inputs[1] for node in g.nodes if node.op in ("conv2d", "linear")]
    return {name: g.array(name) for name in names if name in g.parameters or name in g.buffers}


def check_scope(scope):
    """All in one list, or every layer, or family of layers, by itself. Errors: ValueError naming the scopes there are."""
    if scope not in SCOPES:
        raise ValueError(f"scope must be one of {', '.join(SCOPES)}, not {scope!r}")
