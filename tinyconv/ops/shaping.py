"""Operations that move numbers without changing them. Each vjp moves the gradient back the way the numbers came.

Channel shuffle (ShuffleNet V1, section 3.1): (N, G, C/G, H, W), axes 1 and 2 swapped, back to (N, C, H, W): a fixed permutation,
undone by the shuffle with C/G groups. `take_channels` picks channels by index: what split and shuffle become after pruning.
"""
import numpy as np

from .. import kernels
from ..formulas.geometry import is_integer
from .table import free, register, size


def index_as_json(index):
    """NumPy basic indexing as JSON: integers stay, slices become [start, stop, step], Ellipsis "...".

    Errors: TypeError for anything else (arrays and masks: use take_channels).
    """
    def one(part):
        if isinstance(part, slice):
            return [None if v is None else int(v) for v in (part.start, part.stop, part.step)]
        if part is Ellipsis:
            return "..."
        if is_integer(part) and not isinstance(part, np.bool_):
            return int(part)
        raise TypeError(f"index must be made of integers, slices and Ellipsis, not {type(part).__name__}")
    return [one(part) for part in (index if isinstance(index, tuple) else (index,))]


def _basic(index):
    return tuple(slice(*part) if isinstance(part, list) else Ellipsis if part == "..." else part for part in index)


def _slice(x, index):
    return np.asarray(x[_basic(index)]), (x.shape, index)


def _slice_vjp(saved, dy):
    shape, index = saved
    dx = np.zeros(shape, dy.dtype)
    dx[_basic(index)] = dy
    return (dx,)


def _slice_shape(x, index):
    return np.broadcast_to(np.empty(()), x)[_basic(index)].shape


def _reshape_shape(x, shape):
    shape, total = list(shape), size(x)
    if shape.count(-1) > 1 or any(s < -1 for s in shape):
        raise ValueError(f"shape may have one -1 and no other negative length, not {shape}")
    if -1 in shape:
        known = size(s for s in shape if s != -1)
        shape[shape.index(-1)] = total // known if known and total % known == 0 else -2
    if size(shape) != total or min(shape, default=1) < 0:
        raise ValueError(f"{total} numbers of shape {tuple(x)} do not fit shape {tuple(shape)}")
    return tuple(shape)


def _flatten_shape(x, start_dim=1):
    if not 0 <= start_dim < max(len(x), 1):
        raise ValueError(f"start_dim must be an axis of shape {tuple(x)}, not {start_dim}")
    return tuple(x[:start_dim]) + (size(x[start_dim:]),)


def _transpose_shape(x, axes):
    if sorted(axes) != list(range(len(x))):
        raise ValueError(f"axes must be an order of {len(x)} axes, not {axes}")
    return tuple(x[a] for a in axes)


register("slice", _slice, _slice_vjp, _slice_shape, free)
register("reshape", lambda x, shape: (x.reshape(_reshape_shape(x.shape, shape)), x.shape),
         lambda shape, dy: (dy.reshape(shape),), _reshape_shape, free)
register("flatten", lambda x, start_dim=1: (x.reshape(_flatten_shape(x.shape, start_dim)), x.shape),
         lambda shape, dy: (dy.reshape(shape),), _flatten_shape, free)
register("transpose", lambda x, axes: (x.transpose(_transpose_shape(tuple(range(x.ndim)), axes)), axes),
         lambda axes, dy: (dy.transpose(np.argsort(axes)),), _transpose_shape, free)


def _concat_shape(*shapes, axis=1):
    if not shapes or not 0 <= axis < len(shapes[0]):
        raise ValueError(f"concat takes at least one array, and an axis of them, not {len(shapes)} arrays and axis {axis}")
    first = shapes[0]
    for other in shapes[1:]:
        if len(other) != len(first) or any(a != b for i, (a, b) in enumerate(zip(first, other)) if i != axis):
            given = " and ".join(str(tuple(s)) for s in shapes)
            raise ValueError(f"concat along axis {axis} needs equal other axes, not shapes {given}")
    return tuple(sum(s[axis] for s in shapes) if i == axis else length for i, length in enumerate(first))


def _concat(*arrays, axis=1):
    _concat_shape(*(a.shape for a in arrays), axis=axis)
    return _joined(arrays, axis), ([a.shape[axis] for a in arrays], axis)


def _joined(arrays, axis):
    return kernels.concat(arrays) if axis == 1 else np.concatenate(arrays, axis=axis)


def _pieces(x, sizes, axis):
    cuts = np.cumsum([0, *sizes])
    return tuple(x[(slice(None),) * axis + (slice(a, b),)] for a, b in zip(cuts[:-1], cuts[1:]))


def _split_shape(x, sizes, axis=1):
    if not 0 <= axis < len(x) or sum(sizes) != x[axis] or min(sizes) < 1:
        raise ValueError(f"sizes must be positive and add up to axis {axis} of shape {tuple(x)}, not {list(sizes)}")
    return tuple(tuple(s if i == axis else length for i, length in enumerate(x)) for s in sizes)


def _split(x, sizes, axis=1):
    _split_shape(x.shape, sizes, axis)
    return _pieces(x, sizes, axis), axis


register("concat", _concat, lambda saved, dy: _pieces(dy, *saved), _concat_shape, free)
register("split", _split, lambda axis, *dys: (lambda: _joined(dys, axis),), _split_shape, free)


def shuffled(channels, groups):
    """Where each channel after a shuffle came from: [0, C/G, 2C/G, …, 1, C/G + 1, …].

    >>> shuffled(6, 2).tolist()
    [0, 3, 1, 4, 2, 5]
    """
    if groups < 1 or channels % groups:
        raise ValueError(f"groups must divide the {channels} channels, not {groups}")
    return np.arange(channels).reshape(groups, channels // groups).T.ravel()


def _shuffle(x, groups):
    shuffled(_channels(x.shape), groups)
    return kernels.shuffle(x, groups), groups


def _channels(x):
    if len(x) < 2:
        raise ValueError(f"channels are axis 1 of (N,C,…); shape {tuple(x)} has none")
    return x[1]


def _shuffle_shape(x, groups):
    shuffled(_channels(x), groups)
    return tuple(x)


def _take_shape(x, indices):
    _channels(x)
    if len(indices) < 1 or min(indices) < 0 or max(indices) >= x[1]:
        raise ValueError(f"indices must lie in 0..{x[1] - 1} (channels of shape {tuple(x)}), and be at least one, not {list(indices)}")
    return (x[0], len(indices), *x[2:])


def _take(x, indices):
    _take_shape(x.shape, indices)
    return kernels.pick(x, indices), (x.shape, indices)


def _take_vjp(saved, dy):
    shape, indices = saved
    dx = np.zeros(shape, dy.dtype)
    if len(set(indices)) == len(indices):
        dx[:, indices] = dy
    else:                                                                                 # a channel taken twice gathers both
        np.add.at(dx, (slice(None), indices), dy)
    return (dx,)


register("channel_shuffle", _shuffle, lambda groups, dy: (lambda: kernels.shuffle(dy, dy.shape[1] // groups),), _shuffle_shape, free)
register("take_channels", _take, _take_vjp, _take_shape, free)


MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _pad_shape(x, padding, mode="constant", value=0.0):
    if len(x) != 4 or len(padding) != 4 or min(padding) < 0:
        raise ValueError("pad takes (N,C,H,W) and padding [left, right, top, bottom] of at least 0, "
                         f"not shape {tuple(x)} and {list(padding)}")
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
    left, right, top, bottom = padding
    if mode == "reflect" and (max(left, right) >= x[3] or max(top, bottom) >= x[2]) \
            or mode == "circular" and (max(left, right) > x[3] or max(top, bottom) > x[2]):
        raise ValueError(f"{mode} padding {list(padding)} is too large for a plane of {x[2]}x{x[3]}")
    return (x[0], x[1], x[2] + top + bottom, x[3] + left + right)


def _pad(x, padding, mode="constant", value=0.0):
    """Every mode is a table of source rows and columns (-1: the constant), so that one gather serves all modes."""
    _pad_shape(x.shape, padding, mode, value)
    left, right, top, bottom = padding
    fill = {"constant_values": -1} if mode == "constant" else {}
    rows = np.pad(np.arange(x.shape[2]), (top, bottom), MODES[mode], **fill)
    columns = np.pad(np.arange(x.shape[3]), (left, right), MODES[mode], **fill)
    y = x[:, :, rows[:, None], columns]                                                   # (N,C,H,W) -> (N,C,OH,OW)
    inside = (rows[:, None] >= 0) & (columns >= 0)
    return np.where(inside, y, x.dtype.type(value)), (x.shape, rows, columns)


def _pad_vjp(saved, dy):
    """Each number goes back to its source: first whole rows, then whole columns."""
    shape, rows, columns = saved
    tall, dx = np.zeros((*shape[:3], len(columns)), dy.dtype), np.zeros(shape, dy.dtype)
    for at, row in enumerate(rows):
        if row >= 0:
            tall[:, :, row] += dy[:, :, at]                                               # (N,C,OH,OW) -> (N,C,H,OW)
    for at, column in enumerate(columns):
        if column >= 0:
            dx[..., column] += tall[..., at]                                              # (N,C,H,OW) -> (N,C,H,W)
    return (dx,)


register("pad", _pad, _pad_vjp, _pad_shape, free)
