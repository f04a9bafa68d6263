"""Batch normalization's passes as readable loops: the formulas of `norm`, one a function, sums taken in the order of reading.

    total[c] += x        total[c] += (x - mean[c])^2        y = x scale[c] + shift[c]
    dbeta[c] += dy       dgamma[c] += dy x^                 dx = gamma inv_std (dy - mean_dbeta - x^ mean_dgamma)

Their fast forms: `norm_kernels`. Cost: as `norm` says.
"""
from ._jit import plain


@plain
def plain_sums(x, total):
    """total[c] += x over (N,C,H,W)."""
    N, C, H, W = x.shape
    for n in range(N):
        for c in range(C):
            for h in range(H):
                for w in range(W):
                    total[c] += x[n, c, h, w]


@plain
def plain_squares(x, mean, total):
    """total[c] += (x - mean[c])^2 over (N,C,H,W)."""
    N, C, H, W = x.shape
    for n in range(N):
        for c in range(C):
            for h in range(H):
                for w in range(W):
                    d = x[n, c, h, w] - mean[c]
                    total[c] += d * d


@plain
def plain_apply(x, scale, shift, y):
    """y += x * scale[c] + shift[c] over (N,C,H,W)."""
    N, C, H, W = x.shape
    for n in range(N):
        for c in range(C):
            for h in range(H):
                for w in range(W):
                    y[n, c, h, w] += x[n, c, h, w] * scale[c] + shift[c]


@plain
def plain_grad_sums(dy, x, mean, inv_std, dgamma, dbeta):
    """dgamma[c] += dy * x^, dbeta[c] += dy over (N,C,H,W)."""
    N, C, H, W = x.shape
    for n in range(N):
        for c in range(C):
            for h in range(H):
                for w in range(W):
                    dgamma[c] += dy[n, c, h, w] * ((x[n, c, h, w] - mean[c]) * inv_std[c])
                    dbeta[c] += dy[n, c, h, w]


@plain
def plain_grad_apply(dy, x, mean, inv_std, gamma, mean_dgamma, mean_dbeta, dx):
    """dx += gamma * inv_std * (dy - dbeta/M - x^ * dgamma/M) over (N,C,H,W)."""
    N, C, H, W = x.shape
    for n in range(N):
        for c in range(C):
            for h in range(H):
                for w in range(W):
                    x_hat = (x[n, c, h, w] - mean[c]) * inv_std[c]
                    dx[n, c, h, w] += gamma[c] * inv_std[c] * (dy[n, c, h, w] - mean_dbeta[c] - x_hat * mean_dgamma[c])
