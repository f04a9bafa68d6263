"""Floor 4: the networks of the field, one file a paper: citation, table as data, published parameters and MACs as constants."""
from . import mobilenetv1, mobilenetv2
from .mobilenetv1 import MobileNetV1, mobilenet_v1, mobilenet_v1_small
from .mobilenetv2 import MobileNetV2, mobilenet_v2, mobilenet_v2_small

NETWORKS = {f.__name__: f for f in (mobilenet_v1, mobilenet_v1_small, mobilenet_v2, mobilenet_v2_small)}
PUBLISHED = {**mobilenetv1.PUBLISHED, **mobilenetv2.PUBLISHED}       # name -> what the paper or its authors print

__all__ = ["MobileNetV1", "MobileNetV2", "NETWORKS", "PUBLISHED", *NETWORKS]
