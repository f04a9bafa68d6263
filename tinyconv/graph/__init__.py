"""Floor 4: the network as data. `trace` writes it down; a Graph runs, trains, is saved, and is what transforms take and give."""
from .coupling import Coupling, couple
from .file import graph_as_json, graph_from_json, load, save, saved_bytes
from .folding import fold_batch_norms
from .following import COUPLING
from .network import Network
from .recording import TraceError
from .removal import mask_channels, remove_channels
from .runner import run, shapes
from .structure import Graph, GraphError, Node
from .tracing import trace

__all__ = ["COUPLING", "Coupling", "Graph", "GraphError", "Network", "Node", "TraceError", "couple", "fold_batch_norms",
           "graph_as_json", "graph_from_json", "load", "mask_channels", "remove_channels", "run", "save", "saved_bytes", "shapes",
           "trace"]
