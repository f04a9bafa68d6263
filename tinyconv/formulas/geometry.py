"""How large is the result? The size formula of sliding windows, and every error that can be made with it.

    OH = floor((H + P_top + P_bottom - D(KH-1) - 1) / S) + 1          (ceil with ceil_mode)

Notation, used in the whole house: N batch, C input channels, F output channels (filters), H and W input size, KH and KW
kernel, S stride, P padding, D dilation (1 = none), G groups, OH and OW output size. Arrays are x (N,C,H,W), w (F,C/G,KH,KW),
y (N,F,OH,OW). Source: Dumoulin & Visin, "A guide to convolution arithmetic for deep learning" (2016), relationships 6 and 15.
"""
from typing import NamedTuple


class GeometryError(ValueError):
    """Shapes, stride, padding, dilation and groups that do not fit together; the message prints all of them."""


class Conv2dGeometry(NamedTuple):
    """One two-dimensional convolution: every size a kernel needs, already checked. Build it with `conv2d_geometry`."""

    n: int
    c: int
    h: int
    w: int
    f: int
    kh: int
    kw: int
    sh: int = 1
    sw: int = 1
    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0
    dh: int = 1
    dw: int = 1
    groups: int = 1
    oh: int = 1
    ow: int = 1

    @property
    def x_shape(self):
        """(N,C,H,W)."""
        return (self.n, self.c, self.h, self.w)

    @property
    def w_shape(self):
        """(F,C/G,KH,KW)."""
        return (self.f, self.c // self.groups, self.kh, self.kw)

    @property
    def y_shape(self):
        """(N,F,OH,OW)."""
        return (self.n, self.f, self.oh, self.ow)

    @property
    def is_depthwise(self):
        """Every input channel is convolved by itself (with F/C filters of its own)."""
        return self.groups == self.c and self.c > 1

    @property
    def is_pointwise(self):
        """A 1x1 window that sees each pixel exactly as it lies: a matrix product."""
        return self.kh == self.kw == self.sh == self.sw == 1 and not (self.top or self.bottom or self.left or self.right)


class Pool2dGeometry(NamedTuple):
    """One two-dimensional pooling: every size a kernel needs, already checked. Build it with `pool2d_geometry`."""

    n: int
    c: int
    h: int
    w: int
    kh: int
    kw: int
    sh: int
    sw: int
    ph: int
    pw: int
    dh: int
    dw: int
    oh: int
    ow: int

    @property
    def x_shape(self):
        """(N,C,H,W)."""
        return (self.n, self.c, self.h, self.w)

    @property
    def y_shape(self):
        """(N,C,OH,OW)."""
        return (self.n, self.c, self.oh, self.ow)


def is_integer(value):
    """An integer of any kind (NumPy's too), but no truth value and no float."""
    return hasattr(value, "__index__") and not hasattr(value, "__len__") and not isinstance(value, bool)


def pair(value, name, least=None):
    """`value` as (vertical, horizontal): 3 -> (3, 3), (3, 5) -> (3, 5).

    Errors: GeometryError naming `name` and the value, if it is no integer or pair of integers, or below `least`.

    >>> pair(3, "stride"), pair((1, 2), "stride")
    ((3, 3), (1, 2))
    """
    both = tuple(value) if isinstance(value, (tuple, list)) or hasattr(value, "__len__") else (value, value)
    if len(both) != 2 or not all(is_integer(v) for v in both):
        raise GeometryError(f"{name} must be an integer or a pair of integers, not {value!r}")
    both = (int(both[0]), int(both[1]))
    if least is not None and min(both) < least:
        raise GeometryError(f"{name} must be at least {least}, not {value!r}")
    return both


def output_size(size, kernel, stride=1, padding=0, dilation=1, ceil_mode=False):
    """How many windows fit along one axis: floor((size + padding - D(K-1) - 1) / S) + 1.

    `padding` is one number for each side or the pair (before, after). With `ceil_mode` the quotient is rounded up, and a
    last window that would begin in the padding behind the input is dropped again (the rule of Caffe and PyTorch, on which
    SqueezeNet's pools depend). May return 0 or less: no window fits; the geometry functions refuse that.

    >>> output_size(224, 7, stride=2, padding=3), output_size(5, 3, dilation=2)
    (112, 1)
    >>> output_size(112, 3, stride=2), output_size(112, 3, stride=2, ceil_mode=True)
    (55, 56)
    """
    before, after = padding if isinstance(padding, (tuple, list)) else (padding, padding)
    room = size + before + after - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return room // stride + 1
    windows = -(-room // stride) + 1
    return windows - 1 if (windows - 1) * stride >= size + before else windows


def _shape4(shape, name, letters):
    shape = tuple(shape)
    if len(shape) != 4 or not all(is_integer(v) for v in shape):
        raise GeometryError(f"{name} must have four axes {letters}, not shape {shape}")
    if min(shape) < 1:
        raise GeometryError(f"{name} must not be empty: shape {shape} has an axis of length {min(shape)}")
    return tuple(int(v) for v in shape)


def _pads(padding, kernel, stride, dilation):
    """Padding as ((top, bottom), (left, right)). "same" keeps the size at stride 1, an odd pixel going to the end."""
    if isinstance(padding, str):
        if padding == "valid":
            return (0, 0), (0, 0)
        if padding != "same":
            raise GeometryError(f'padding must be "same", "valid", integers or two pairs, not {padding!r}')
        if stride != (1, 1):
            raise GeometryError(f'padding "same" goes with stride 1 alone, not {stride}')
        both = [d * (k - 1) for k, d in zip(kernel, dilation)]
        return tuple((total // 2, total - total // 2) for total in both)
    if isinstance(padding, (tuple, list)) and len(padding) == 2 and all(isinstance(p, (tuple, list)) for p in padding):
        return tuple(pair(p, "padding", least=0) for p in padding)
    return tuple((p, p) for p in pair(padding, "padding", least=0))


def conv2d_geometry(x_shape, w_shape, stride=1, padding=0, dilation=1, groups=1):
    """Check one convolution and work out all its sizes.

    `padding` is an integer, a pair (vertical, horizontal), "same", "valid", or ((top, bottom), (left, right)).
    Errors: GeometryError, which prints input, kernel, stride, padding, dilation and groups, if channels and groups do not
    divide, the weight does not belong to the input, or no window fits.

    >>> g = conv2d_geometry((1, 3, 224, 224), (64, 3, 7, 7), stride=2, padding=3)
    >>> g.y_shape
    (1, 64, 112, 112)
    """
    given = tuple([tuple(v) if type(v) is list else v for v in (x_shape, w_shape, stride, padding, dilation, groups)])
    if not _only_integers(given):
        return _conv2d_geometry(*given)
    found = _known.get(given)
    if found is None:
        if len(_known) >= 4096:
            _known.clear()
        found = _known[given] = _conv2d_geometry(*given)
    return found


_known = {}                 # arguments -> the geometry they give: a network asks for the same ones at every step


def _only_integers(value):
    """A tuple of nothing but ints and such tuples: equal values are then the same value (1 == True == 1.0, but only one of them is right)."""
    for v in value:
        if type(v) is not int and (type(v) is not tuple or not _only_integers(v)):
            return False
    return True


def _conv2d_geometry(x_shape, w_shape, stride, padding, dilation, groups):
    n, c, h, w = _shape4(x_shape, "input", "(N, C, H, W)")
    f, cg, kh, kw = _shape4(w_shape, "weight", "(F, C/G, KH, KW)")

    def error(what):
        return GeometryError(f"{what} (input {(n, c, h, w)}, kernel {(f, cg, kh, kw)}, stride {stride}, padding {padding}, "
                             f"dilation {dilation}, groups {groups})")

    if not is_integer(groups) or groups < 1:
        raise error("groups must be an integer of at least 1")
    if c % groups or f % groups:
        raise error(f"groups must divide both the {c} input channels and the {f} filters")
    if cg * groups != c:
        raise error(f"each of {groups} groups has {c // groups} input channels, the weight expects {cg}")
    sh, sw = pair(stride, "stride", least=1)
    dh, dw = pair(dilation, "dilation", least=1)
    (top, bottom), (left, right) = _pads(padding, (kh, kw), (sh, sw), (dh, dw))
    oh, ow = output_size(h, kh, sh, (top, bottom), dh), output_size(w, kw, sw, (left, right), dw)
    if oh < 1 or ow < 1:
        raise error("the kernel is larger than the padded input: no window fits")
    return Conv2dGeometry(n, c, h, w, f, kh, kw, sh, sw, top, bottom, left, right, dh, dw, int(groups), oh, ow)


def pool2d_geometry(x_shape, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """Check one pooling and work out all its sizes; `stride` None means the kernel size, as in PyTorch.

    Errors: GeometryError, which prints all quantities, if padding exceeds half the kernel (a window could then see nothing
    but padding) or no window fits.

    >>> pool2d_geometry((1, 96, 109, 109), 3, 2, ceil_mode=True).y_shape
    (1, 96, 54, 54)
    """
    n, c, h, w = _shape4(x_shape, "input", "(N, C, H, W)")
    kh, kw = pair(kernel_size, "kernel_size", least=1)
    sh, sw = pair(kernel_size if stride is None else stride, "stride", least=1)
    ph, pw = pair(padding, "padding", least=0)
    dh, dw = pair(dilation, "dilation", least=1)
    given = f"(input {(n, c, h, w)}, kernel {(kh, kw)}, stride {(sh, sw)}, padding {(ph, pw)}, dilation {(dh, dw)})"
    if ph * 2 > kh or pw * 2 > kw:
        raise GeometryError(f"padding must be at most half the kernel {given}")
    oh, ow = output_size(h, kh, sh, ph, dh, ceil_mode), output_size(w, kw, sw, pw, dw, ceil_mode)
    if oh < 1 or ow < 1:
        raise GeometryError(f"the kernel is larger than the padded input: no window fits {given}")
    return Pool2dGeometry(n, c, h, w, kh, kw, sh, sw, ph, pw, dh, dw, oh, ow)
