"""The oracle: a convolution as its seven loops, in float64, in Python. Never optimised; every algorithm is held against it.

    y[n,f,i,j] = bias[f] + sum over c,u,v of  w[f,c,u,v] * x[n, g*C/G + c, i*SH - top + u*DH, j*SW - left + v*DW]

n images, f filters, i,j output pixels, c channels of the filter's group g = f // (F/G), u,v taps; pixels outside are 0 and
not multiplied, so that infinite weights over padding give no NaN. The gradients are the same loops with another of
the three arrays on the left of the +=. Cost: N*F*OH*OW*(C/G)*KH*KW multiply-adds, about 0.3 microseconds each.
Source: Dumoulin & Visin, "A guide to convolution arithmetic for deep learning" (2016), section 2.
"""
import numpy as np


def terms(geometry):
    """Every product of the convolution as (n, f, i, j, channel, row, column, c, u, v): the seven loops, padding left out.

    y at [n, f, i, j] gets w at [f, c, u, v] times x at [n, channel, row, column].
    """
    g = geometry
    for n in range(g.n):
        for f in range(g.f):
            for i in range(g.oh):
                for j in range(g.ow):
                    for c in range(g.c // g.groups):
                        channel = f // (g.f // g.groups) * (g.c // g.groups) + c
                        for u in range(g.kh):
                            row = i * g.sh - g.top + u * g.dh
                            for v in range(g.kw):
                                column = j * g.sw - g.left + v * g.dw
                                if 0 <= row < g.h and 0 <= column < g.w:
                                    yield n, f, i, j, channel, row, column, c, u, v


def _lists(*arrays):
    """Nested lists of Python floats: faster to index one by one than arrays."""
    return [np.asarray(a, np.float64).tolist() for a in arrays]


def forward(x, w, bias, geometry):
    """y (N,F,OH,OW) of x (N,C,H,W), w (F,C/G,KH,KW) and bias (F,) or None, summed in float64."""
    y = np.zeros(geometry.y_shape).tolist()
    x, w = _lists(x, w)
    for n, f, i, j, channel, row, column, c, u, v in terms(geometry):
        y[n][f][i][j] += w[f][c][u][v] * x[n][channel][row][column]
    y = np.array(y)
    return y if bias is None else y + np.asarray(bias, np.float64)[:, None, None]


def grad_input(dy, w, geometry):
    """dx (N,C,H,W): each product's other factor goes back to the pixel it came from, in float64."""
    dx = np.zeros(geometry.x_shape).tolist()
    dy, w = _lists(dy, w)
    for n, f, i, j, channel, row, column, c, u, v in terms(geometry):
        dx[n][channel][row][column] += w[f][c][u][v] * dy[n][f][i][j]
    return np.array(dx)


def grad_weight(dy, x, geometry):
    """dw (F,C/G,KH,KW): each product's other factor goes back to the weight it came from, in float64."""
    dw = np.zeros(geometry.w_shape).tolist()
    dy, x = _lists(dy, x)
    for n, f, i, j, channel, row, column, c, u, v in terms(geometry):
        dw[f][c][u][v] += x[n][channel][row][column] * dy[n][f][i][j]
    return np.array(dw)


def bound(direction, a, b, geometry, bias=None, dtype=np.float32):
    """How far rounding may carry any order of summation from the exact result: n * u * (the same sums of absolute values).

    a, b: the arrays of forward(x, w), grad_input(dy, w) or grad_weight(dy, x). n is the largest number of summed terms,
    products and additions counted, u the unit roundoff of `dtype` (2**-24 for float32). Float64 arrays, exact to first
    order in u. Source: Higham, "Accuracy and Stability of Numerical Algorithms" (2002), section 3.1, |err| <= gamma_n |x|.|w|.
    """
    g = geometry
    size = {"forward": forward, "grad_input": grad_input, "grad_weight": grad_weight}[direction]
    a, b = np.abs(a), np.abs(b)
    sums = size(a, b, None if bias is None else np.abs(bias), g) if direction == "forward" else size(a, b, g)
    taps = g.kh * g.kw
    n = {"forward": g.c // g.groups * taps + 1, "grad_input": g.f // g.groups * taps + 1, "grad_weight": g.n * g.oh * g.ow + 1}
    return n[direction] * np.finfo(dtype).eps / 2 * sums
