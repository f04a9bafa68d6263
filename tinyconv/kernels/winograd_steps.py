"""Winograd convolution in readable steps: cut tiles, transform them and the filters, multiply point by point, transform back, paste.

    y = A^T [ Σ_c (G w G^T) * (B^T d B) ] A       d the a x a tile of x, a = m + r - 1;  matrices and sources: `winograd_matrices`
    dw = G^T [ Σ_tiles (A dy A^T) * (B^T d B) ] G       the adjoint: every step of the forward pass transposed

One function, `transform`, is all five transforms: y += M d M^T. `conv` and `conv_weight` put the steps together, for any m and any matrices; run on
absolute values they are the bound of the rounding (`error_bound`). What the fast form makes of them: page `winograd`.
Cost: a² C F multiply-adds for each of the N ceil(OH/m) ceil(OW/m) tiles, and the transforms.
Source: Winograd, "Arithmetic complexity of computations" (1980); Lavin & Gray, "Fast algorithms for convolutional neural networks" (2016).
"""
import numpy as np

from . import select
from ._jit import plain
from .winograd_matrices import arrays


@plain
def cut(x, d, m, top, left, across):
    """d[p,c,i,j] += x at pixel (i, j) of tile p: x (N,C,H,W), d (P,C,a,a) zeroed, tiles m apart, `across` in a row; 0 outside."""
    tall = d.shape[0] // x.shape[0] // across
    for p in range(d.shape[0]):
        for c in range(d.shape[1]):
            for i in range(d.shape[2]):
                for j in range(d.shape[3]):
                    row, column = p // across % tall * m - top + i, p % across * m - left + j
                    if 0 <= row and row < x.shape[2] and 0 <= column and column < x.shape[3]:
                        d[p, c, i, j] += x[p // across // tall, c, row, column]


@plain
def transform(M, d, half, y):
    """y[b] += M d[b] M^T for each b: M (p,q), d (B,q,q), half (B,p,q) and y (B,p,p) zeroed. Cost: B p q (p + q) multiply-adds."""
    for b in range(d.shape[0]):
        for i in range(M.shape[0]):
            for j in range(M.shape[1]):
                for k in range(M.shape[1]):
                    half[b, i, j] += M[i, k] * d[b, k, j]
        for i in range(M.shape[0]):
            for j in range(M.shape[0]):
                for k in range(M.shape[1]):
                    y[b, i, j] += M[j, k] * half[b, i, k]


@plain
def products(U, V, S):
    """S[p,f,i,j] += Σ_c U[f,c,i,j] * V[p,c,i,j]: U (F,C,a,a), V (P,C,a,a), S (P,F,a,a) zeroed. Cost: P F C a² multiply-adds."""
    for p in range(V.shape[0]):
        for f in range(U.shape[0]):
            for c in range(U.shape[1]):
                for i in range(U.shape[2]):
                    for j in range(U.shape[3]):
                        S[p, f, i, j] += U[f, c, i, j] * V[p, c, i, j]


@plain
def products_weight(Z, V, dU):
    """dU[f,c,i,j] += Σ_p Z[p,f,i,j] * V[p,c,i,j]: the same products, summed over tiles."""
    for p in range(V.shape[0]):
        for f in range(dU.shape[0]):
            for c in range(dU.shape[1]):
                for i in range(dU.shape[2]):
                    for j in range(dU.shape[3]):
                        dU[f, c, i, j] += Z[p, f, i, j] * V[p, c, i, j]


@plain
def paste(tile, y, across):
    """y[n,f,row,column] += tile p's number (i, j): tile (P,F,m,m), y (N,F,OH,OW) zeroed; what lies outside y is dropped."""
    m, tall = tile.shape[2], tile.shape[0] // y.shape[0] // across
    for p in range(tile.shape[0]):
        for f in range(tile.shape[1]):
            for i in range(m):
                for j in range(m):
                    row, column = p // across % tall * m + i, p % across * m + j
                    if row < y.shape[2] and column < y.shape[3]:
                        y[p // across // tall, f, row, column] += tile[p, f, i, j]


def turned(g):
    """grad_input as a forward pass: the geometry of dx = conv(dy, turned weights), with padding r - 1 - P (which may be negative)."""
    r = g.kh - 1
    return g._replace(c=g.f, h=g.oh, w=g.ow, f=g.c, oh=g.h, ow=g.w, top=r - g.top, bottom=r - g.bottom, left=r - g.left, right=r - g.right)


def turned_weights(w):
    """(F,C,r,r) -> (C,F,r,r), every filter turned by 180°."""
    return np.ascontiguousarray(w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))


def plain_rooms(g, m, direction):
    """Shapes of the arrays of the readable form, in the order in which `conv` or `conv_weight` takes them."""
    a, p = m + g.kh - 1, g.n * -(-g.oh // m) * -(-g.ow // m)
    pairs, data = g.f * g.c, [(p, g.c, a, a), (p * g.c, a, a), (p, g.c, a, a)]
    if direction == "grad_weight":
        return data + [(p, g.f, m, m), (p * g.f, a, m), (p, g.f, a, a), (g.f, g.c, a, a), (pairs, g.kh, a)]
    return data + [(pairs, a, g.kh), (g.f, g.c, a, a), (p, g.f, a, a), (p * g.f, m, a), (p, g.f, m, m)]


def _zeros(shapes, dtype):
    rooms = [select.scratch(shape, dtype) for shape in shapes]
    for room in rooms:
        room[:] = 0
    return rooms


def conv(x, w, g, m, matrices=None):
    """y (N,F,OH,OW) by F(m, r) in readable steps, for any m; `matrices` replaces (A^T, G, B^T)."""
    AT, G, BT = arrays(m, g.kh, x.dtype) if matrices is None else matrices
    D, half, V, half_w, U, S, half_y, Y = _zeros(plain_rooms(g, m, "forward"), x.dtype)
    a, across, y = len(BT), -(-g.ow // m), np.zeros(g.y_shape, x.dtype)
    cut(x, D, m, g.top, g.left, across)
    transform(BT, D.reshape(-1, a, a), half, V.reshape(-1, a, a))                             # (P·C, a, a)
    transform(G, w.reshape(-1, g.kh, g.kh), half_w, U.reshape(-1, a, a))                      # (F·C, r, r) -> (F·C, a, a)
    products(U, V, S)
    transform(AT, S.reshape(-1, a, a), half_y, Y.reshape(-1, m, m))                           # (P·F, a, a) -> (P·F, m, m)
    paste(Y, y, across)
    return y


def conv_weight(dy, x, g, m, matrices=None):
    """dw (F,C,r,r) by the adjoint of F(m, r) in readable steps, for any m: dw = G^T [Σ_tiles (A dy A^T) * (B^T d B)] G."""
    AT, G, BT = arrays(m, g.kh, x.dtype) if matrices is None else matrices
    D, half, V, dY, half_y, Z, dU, half_w = _zeros(plain_rooms(g, m, "grad_weight"), x.dtype)
    a, across, dw = len(BT), -(-g.ow // m), np.zeros(g.w_shape, x.dtype)
    cut(x, D, m, g.top, g.left, across)
    cut(dy, dY, m, 0, 0, across)
    transform(BT, D.reshape(-1, a, a), half, V.reshape(-1, a, a))
    transform(np.ascontiguousarray(AT.T), dY.reshape(-1, m, m), half_y, Z.reshape(-1, a, a))  # (P·F, m, m) -> (P·F, a, a)
    products_weight(Z, V, dU)
    transform(np.ascontiguousarray(G.T), dU.reshape(-1, a, a), half_w, dw.reshape(-1, g.kh, g.kh))
    return dw


def error_bound(direction, x, w, geometry, m, bias=None, dtype=np.float32):
    """How far rounding may carry F(m, r) from the exact result: n u times the same steps on absolute values, element by element.

    x, w: the arrays of forward(x, w), grad_input(dy, w) or grad_weight(dy, x). n counts the roundings that one term goes through: a row of a matrix
    with q numbers q + 1 (its own rounding among them), twice for each transform; the sum over channels or tiles; the bias. First order
    in u. Source: Higham, "Accuracy and Stability of Numerical Algorithms" (2002), section 3.1; Barabasz et al. (2020), theorem 1.
    """
    g, (x, w) = geometry, (np.abs(np.asarray(v, np.float64), order="C") for v in (x, w))
    if direction == "grad_input":
        g, w = turned(g), turned_weights(w)
    sizes, a, r = tuple(np.abs(M) for M in arrays(m, g.kh, np.float64)), m + g.kh - 1, g.kh
    if direction == "grad_weight":
        total, n = conv_weight(x, w, g, m, sizes), 2 * (a + 1 + m + 1 + a + 1) + g.n * -(-g.oh // m) * -(-g.ow // m) + 1
    else:
        total, n = conv(x, w, g, m, sizes), 2 * (a + 1 + r + 1 + a + 1) + g.c + 2
        total += 0 if bias is None else np.abs(np.asarray(bias, np.float64))[:, None, None]
    return n * np.finfo(dtype).eps / 2 * total
