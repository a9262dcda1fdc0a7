"""The LSTM over a sequence on plain arrays: forward, and backpropagation through time by hand.

Where the time goes, and what is done about it:

- The products of the recurrence: one a step, z = P [h; x; 1], with W and b inside P.
- Passes over the gates: they are kept feature-major, (H, B), so that each gate is one contiguous block;
  sigma(z) = 1/2 + 1/2 tanh(z/2), so that all four go through one tanh; and the local derivatives are
  taken in the forward pass, while the gates are still in cache.
- Fresh memory: see `memory.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minillm.autograd.row_products import rows_product
from minillm.autograd.state import state


def _transposed(a: np.ndarray) -> np.ndarray:
    """a.T in C order, in strips of 8 columns: a quarter of the time of NumPy's own way through it."""
    out = np.empty(a.shape[::-1], a.dtype)
    for k in range(0, len(a), 8):
        out[:, k:k + 8] = a[k:k + 8].T
    return out


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
    P = np.roll(np.concatenate([U, W, b[None]]), H, axis=1)  # (H+D+1, 4H), gates o, i, f, g
    P[:, :3 * H] *= 0.5  # the halved z of o, i, f
    rows = P if state.invariant else None  # each row of the batch by itself
    P = P.T if B * T <= 128 else _transposed(P)  # quicker products, where there are enough of them
    hx = np.empty((T + 1, B, H + D + 1), dtype)  # step t: h_{t-1}, x_t and a 1 for the bias
    hx[0, :, :H] = h0
    hx[:T, :, H:-1] = x.transpose(1, 0, 2)
    hx[:, :, -1] = 1
    derivatives = np.empty((T if save else 0, 6, H, B), dtype)
    y = np.empty((6, H, B), dtype)
    p, q = np.empty((3, H, B), dtype), np.empty((2, H, B), dtype)
    o, _, f, _, c, tanh_c = y  # o, i, f, g, c, tanh(c): neighbours go through one call
    h, ig, fc = p
    gates, sigmoids, z = y[:4], y[:3], y[:4].reshape(4 * H, B)
    o_i, i_f, g_c, tanh_c_g, h_ig, ig_fc = y[:2], y[1:3], y[3:5], y[5:2:-2], p[:2], p[1:]
    c[...] = c0.T
    for t in range(T):
        if rows is None:
            np.matmul(P, hx[t].T, out=z)
        else:
            z[...] = rows_product(hx[t], rows).T
        np.tanh(gates, out=gates)
        sigmoids *= 0.5
        sigmoids += 0.5
        np.multiply(i_f, g_c, out=ig_fc)
        np.add(ig, fc, out=c)
        np.tanh(c, out=tanh_c)
        np.multiply(o, tanh_c, out=h)
        hx[t + 1, :, :H] = h.T
        if save:
            d = derivatives[t]
            # dh/dc = o (1 - tanh(c)^2) and dc/dz_g = i (1 - g^2)
            np.subtract(o_i, np.multiply(h_ig, tanh_c_g, out=q), out=d[::4])
            # dh/dz_o = (1 - o) h, dc/dz_i = (1 - i) ig and dc/dz_f = (1 - f) fc
            np.multiply(np.subtract(1, sigmoids, out=d[1:4]), p, out=d[1:4])
            d[5] = f  # dc/dc_{t-1}
    hs = hx[1:, :, :H].transpose(1, 0, 2).copy()  # (B, T, H)
    return hs, c.T.copy(), (hx, derivatives) if save else None


def lstm_backward(saved: Any, d_hs: np.ndarray | None, d_c_last: np.ndarray | None, x: np.ndarray,
                  h0: np.ndarray, c0: np.ndarray, W: np.ndarray, U: np.ndarray, b: np.ndarray,
                  needs: tuple[bool, ...] = (True,) * 6) -> tuple[Any, ...]:
    """dz, step by step from the last; then all weights' gradients as one large product.

        dc_t += dh_t * o (1 - tanh(c_t)^2)
        dz_i = dc g i (1 - i)     dz_f = dc c_{t-1} f (1 - f)
        dz_g = dc i (1 - g^2)     dz_o = dh tanh(c) o (1 - o)
        dh_{t-1} = dz U^T         dc_{t-1} = dc f

    Args:
        saved: from `lstm_forward`; it is not changed.
        d_hs: (B, T, H), d_c_last: (B, H), gradients of the outputs; None is zero.
        needs: which of the six gradients are wanted.

    Returns:
        Gradients of (x, h0, c0, W, U, b); None where not wanted.
    """
    hx, derivatives = saved
    (B, T, D), H, dtype = x.shape, U.shape[0], x.dtype
    U_oifg = np.roll(U, H, axis=1)
    dzs = np.empty((T, B, 4 * H), dtype)  # gates i, f, g, o again
    dh = np.zeros((H, B), dtype)
    dc = np.zeros((H, B), dtype) if d_c_last is None else d_c_last.T.copy()
    v = np.empty((5, H, B), dtype)
    dc_from_h, dz_o, dz_ifg, dz = v[0], v[1], v[2:].reshape(3 * H, B), v[1:].reshape(4 * H, B)
    for t in reversed(range(T)):
        d = derivatives[t]
        if d_hs is not None:
            dh += d_hs[:, t].copy().T  # the copy gathers far-apart rows: half the time
        np.multiply(d[:2], dh, out=v[:2])
        dc += dc_from_h
        np.multiply(d[2:5], dc, out=v[2:])
        dc *= d[5]
        np.matmul(U_oifg, dz, out=dh)
        dzs[t, :, :3 * H] = dz_ifg.T
        dzs[t, :, 3 * H:] = dz_o.T
    dzs = dzs.reshape(T * B, 4 * H)
    dP = hx[:T].reshape(T * B, H + D + 1).T @ dzs if any(needs[3:]) else None  # rows: U, W, b
    return ((dzs @ W.T).reshape(T, B, D).transpose(1, 0, 2) if needs[0] else None,
            dh.T.copy() if needs[1] else None,
            dc.T.copy() if needs[2] else None,
            dP[H:-1] if dP is not None and needs[3] else None,
            dP[:H] if dP is not None and needs[4] else None,
            dP[-1] if dP is not None and needs[5] else None)
