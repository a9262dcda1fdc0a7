"""The LSTM over a sequence on plain arrays: forward, and backpropagation through time by hand.

State is kept feature-major, (H, B): each gate is then one contiguous block, and the four gates of a
step are one product, one tanh and a few passes. A sigmoid is a halved tanh,
sigma(z) = 1/2 + 1/2 tanh(z/2), so all four gates go through tanh at once: the halving of z is put
into the weights beforehand.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# Steps whose local derivatives are computed in one go hold about this many numbers a gate: they are
# still in cache when the recurrence reads them.
BLOCK = 32768


def lstm_forward(x: np.ndarray, h0: np.ndarray, c0: np.ndarray, W: np.ndarray, U: np.ndarray,
                 b: np.ndarray, *, save: bool = True) -> tuple[np.ndarray, np.ndarray, Any]:
    """z_t = x_t W + h_{t-1} U + b;  c_t = f * c_{t-1} + i * g;  h_t = o * tanh(c_t).

    Args:
        x: (B, T, D). h0, c0: (B, H). W: (D, 4H). U: (H, 4H). b: (4H,), gates i, f, g, o; one dtype.
        save: keep what `lstm_backward` needs.

    Returns:
        (hs (B, T, H), c_T (B, H), saved).
    """
    (B, T, D), H, dtype = x.shape, U.shape[0], x.dtype
    half = np.array([0.5, 0.5, 1, 0.5], dtype)[:, None, None]  # sigma, sigma, tanh, sigma
    P = np.concatenate([U, W, b[None]]).T.reshape(4, H, -1) * half  # (4, H, H+D+1)
    P = P.reshape(4 * H, -1)
    hx = np.empty((T + 1, H + D + 1, B), dtype)  # step t: h_{t-1}, x_t and a 1 for the bias
    hx[0, :H] = h0.T
    hx[:T, H:-1] = x.transpose(1, 2, 0)
    hx[:, -1] = 1
    n = T if save else min(T, 1)  # without save, one step's worth of everything
    Y = np.empty((n + 1, 5, H, B), dtype)  # i_t, f_t, g_t, o_t, and c_{t-1}
    tanh_c = np.empty((n, H, B), dtype)
    p = np.empty((2, H, B), dtype)
    Y[0, 4] = c0.T
    for t in range(T):
        y, c, tc = (Y[t], Y[t + 1, 4], tanh_c[t]) if save else (Y[0], Y[0, 4], tanh_c[0])
        gates = y[:4]
        np.matmul(P, hx[t], out=gates.reshape(4 * H, B))
        np.tanh(gates, out=gates)
        gates *= half
        gates += 1 - half
        np.multiply(y[:2], y[2::2], out=p)  # i * g and f * c in one call
        np.add(p[0], p[1], out=c)
        np.tanh(c, out=tc)
        np.multiply(y[3], tc, out=hx[t + 1, :H])
    hs = np.ascontiguousarray(hx[1:, :H].transpose(2, 0, 1))  # (B, T, H)
    c_last = Y[T if save else 0, 4].T.copy()
    return hs, c_last, (hx[:, :H], Y, tanh_c) if save else None


def lstm_backward(saved: Any, d_hs: np.ndarray | None, d_c_last: np.ndarray | None, x: np.ndarray,
                  h0: np.ndarray, c0: np.ndarray, W: np.ndarray, U: np.ndarray, b: np.ndarray,
                  needs: tuple[bool, ...] = (True,) * 6) -> tuple[Any, ...]:
    """dz, step by step from the last; then every weight's gradient as one large product.

        dc_t += dh_t * o (1 - tanh(c_t)^2)
        dz_i = dc g i (1 - i)     dz_f = dc c_{t-1} f (1 - f)
        dz_g = dc i (1 - g^2)     dz_o = dh tanh(c) o (1 - o)
        dh_{t-1} = dz U^T         dc_{t-1} = dc f

    Args:
        saved: from `lstm_forward`.
        d_hs: (B, T, H), d_c_last: (B, H), gradients of the outputs; None is zero.
        needs: which of the six gradients are wanted.

    Returns:
        Gradients of (x, h0, c0, W, U, b); None where not wanted.
    """
    hs, Y, tanh_c = saved
    (B, T, D), H, dtype = x.shape, U.shape[0], x.dtype
    dzs = np.empty((T, B, 4 * H), dtype)
    dc = np.zeros((H, B), dtype) if d_c_last is None else d_c_last.T.copy()
    dh = np.zeros((H, B), dtype)
    steps = max(1, min(T, BLOCK // (H * B)))
    L_block = np.empty((steps, 5, H, B), dtype)
    for start in reversed(range(0, T, steps)):
        stop = min(start + steps, T)
        y, tc, L = Y[start:stop], tanh_c[start:stop], L_block[:stop - start]
        i, f, g, o, c = (y[:, k] for k in range(5))  # each (steps, H, B)
        # All that does not depend on later steps, in bulk: L holds the factors of dc or dh in dz.
        np.multiply(y[:, :4], y[:, :4], out=L[:, :4])
        np.subtract(y[:, :2], L[:, :2], out=L[:, :2])  # i (1 - i), f (1 - f)
        np.subtract(1, L[:, 2], out=L[:, 2])           # 1 - g^2
        np.subtract(o, L[:, 3], out=L[:, 3])           # o (1 - o)
        L[:, :2] *= y[:, 2::2]                         # by g, and by c_{t-1}
        L[:, 2] *= i
        L[:, 3] *= tc
        np.multiply(tc, tc, out=L[:, 4])
        np.subtract(1, L[:, 4], out=L[:, 4])
        L[:, 4] *= o                                   # o (1 - tanh(c)^2)
        d_h = None if d_hs is None else np.ascontiguousarray(d_hs[:, start:stop].transpose(1, 2, 0))
        for k in reversed(range(stop - start)):
            dz = L[k]
            if d_h is not None:
                dh += d_h[k]
            dz[3:] *= dh
            dc += dz[4]
            dz[:3] *= dc
            dc *= f[k]
            np.matmul(U, dz[:4].reshape(4 * H, B), out=dh)
        dzs[start:stop] = L[:, :4].reshape(-1, 4 * H, B).transpose(0, 2, 1)
    dz = dzs.reshape(T * B, 4 * H)  # (T B, 4H)
    h_before = hs[:T].transpose(0, 2, 1).reshape(T * B, H) if needs[4] else None
    x_rows = x.transpose(1, 0, 2).reshape(T * B, D) if needs[3] else None
    return ((dz @ W.T).reshape(T, B, D).transpose(1, 0, 2) if needs[0] else None,
            dh.T.copy() if needs[1] else None,
            dc.T.copy() if needs[2] else None,
            x_rows.T @ dz if x_rows is not None else None,
            h_before.T @ dz if h_before is not None else None,
            np.add.reduce(dz, axis=0) if needs[5] else None)
