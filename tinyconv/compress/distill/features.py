"""Distillation by features: the student's maps inside the network learn from the teacher's, picture by picture.

    hints        L = mean (R f_s - f_t)²                          R (C_t,C_s): a 1×1 regressor that learns with the student
    attention    L = mean (u_s - u_t)²,  u = q/‖q‖,  q = Σ_c f²   where a network looks: one map for all channels, of length 1

Means over pictures and over all numbers of what is compared. Every function returns (L, gradients …), L a Python float worked
out in float64, the gradients in the student's dtype; the teacher has none. Gradients:

    ∂L/∂f_s = Rᵀ G, ∂L/∂R = Σ G f_sᵀ,  G = 2 (R f_s - f_t)/(number of values)
    ∂L/∂f_s = 2 f_s g,  g = (h - u_s (u_s·h))/‖q_s‖,  h = 2 (u_s - u_t)/(N H W)          g (N,1,H,W), the same for all channels

Sources: Romero et al., "FitNets" (2015), equation 3 (there half the sum, and a regressor with a window); Zagoruyko & Komodakis,
"Paying more attention to attention" (2017), section 3.1, with the squared difference of their code.
"""
import numpy as np


def checked_features(f_s, f_t):
    """Student's and teacher's features in float64, a batch of equal size in front. Errors: TypeError, ValueError."""
    f_s, f_t = np.asarray(f_s), np.asarray(f_t)
    for name, f in (("f_s", f_s), ("f_t", f_t)):
        if f.dtype.kind != "f":
            raise TypeError(f"{name} must be features in float32 or float64, not {f.dtype}")
        if f.ndim < 2 or not f.size:
            raise ValueError(f"{name} must be (N,C) or (N,C,H,W) with at least one row, not shape {f.shape}")
    if len(f_s) != len(f_t):
        raise ValueError(f"f_s and f_t must be of the same batch, not {len(f_s)} and {len(f_t)} rows")
    return f_s.astype(np.float64), f_t.astype(np.float64)


def hint_loss(f_s, f_t, regressor=None):
    """(L, ∂L/∂f_s, ∂L/∂R) of FitNet hints: the mean of (R f_s - f_t)² over all values; the third is None without a regressor.

    f_s (N,C_s,H,W) or (N,C_s), f_t the same with C_t; regressor R (C_t,C_s), applied at every pixel (a 1×1 convolution).
    Errors: ValueError for sizes that differ otherwise (a map of another size has to be pooled first).

    >>> tc.compress.distill.hint_loss(np.array([[1.0, 2.0]]), np.array([[5.0]]), np.array([[1.0, 1.0]]))
    (4.0, array([[-4., -4.]]), array([[-4., -8.]]))
    """
    dtype = np.asarray(f_s).dtype
    f_s, f_t = checked_features(f_s, f_t)
    r = None if regressor is None else np.asarray(regressor, np.float64)
    if r is not None and r.shape != (f_t.shape[1], f_s.shape[1]):
        raise ValueError(f"regressor must be (C_t,C_s) = {(f_t.shape[1], f_s.shape[1])}, not shape {r.shape}")
    moved = f_s if r is None else np.einsum("tc,nc...->nt...", r, f_s)
    if moved.shape != f_t.shape:
        need = "a regressor and maps of one size" if r is None else "maps of one size"
        raise ValueError(f"hints need {need}: f_s is {f_s.shape}, f_t {f_t.shape}")
    gap = moved - f_t
    grad = 2 / gap.size * gap
    if r is None:
        return float(np.square(gap).mean()), grad.astype(dtype), None
    axes = (0, *range(2, f_s.ndim))
    return (float(np.square(gap).mean()), np.einsum("tc,nt...->nc...", r, grad).astype(dtype),
            np.tensordot(grad, f_s, (axes, axes)).astype(dtype))


def attention_map(f):
    """(u, ‖q‖) of features (N,C,H,W): q = Σ_c f² as a row of HW numbers, u = q/‖q‖ (zeros where q is): (N,HW), (N,1), float64.

    >>> tc.compress.distill.attention_map(np.sqrt([[[[1.0, 0.0]], [[2.0, 4.0]]]]))[0]
    array([[0.6, 0.8]])
    """
    q = np.square(np.asarray(f, np.float64)).sum(axis=1).reshape(len(f), -1)
    length = np.linalg.norm(q, axis=1, keepdims=True)
    return q / np.where(length > 0, length, 1), length


def attention_loss(f_s, f_t):
    """(L, ∂L/∂f_s) of attention transfer: the mean over pictures and pixels of (u_s - u_t)², u as in `attention_map`.

    f_s (N,C_s,H,W), f_t (N,C_t,H,W): the channels may differ, the sizes not. Invariant: multiplying either by a number
    changes nothing. Errors: ValueError for other shapes.
    """
    dtype = np.asarray(f_s).dtype
    f_s, f_t = checked_features(f_s, f_t)
    if f_s.ndim != 4 or f_t.ndim != 4 or f_s.shape[2:] != f_t.shape[2:]:
        raise ValueError(f"attention needs maps (N,C,H,W) of one size: f_s is {f_s.shape}, f_t {f_t.shape}")
    (u_s, length), (u_t, _) = attention_map(f_s), attention_map(f_t)
    gap = u_s - u_t
    h = 2 / gap.size * gap                                                        # (N,HW)
    g = (h - u_s * (u_s * h).sum(axis=1, keepdims=True)) / np.where(length > 0, length, np.inf)
    return float(np.square(gap).mean()), (2 * f_s * g.reshape(len(f_s), 1, *f_s.shape[2:])).astype(dtype)
