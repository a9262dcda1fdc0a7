"""Tests and misconceptions of the assignment on the LSTM."""

import numpy as np

from minillm.classroom import Misconception, Scenario


def arrays(rng, *x_shape):
    D, H = x_shape[-1], int(rng.integers(2, 5))
    B = x_shape[0]
    return {"h": rng.normal(size=(B, H)), "c": rng.normal(size=(B, H)), "W": rng.normal(size=(D, 4 * H)),
            "U": rng.normal(size=(H, 4 * H)), "b": rng.normal(size=4 * H), "x": rng.normal(size=x_shape)}


def one_step(rng):
    return arrays(rng, int(rng.integers(2, 5)), int(rng.integers(2, 6)))


def some_steps(rng):
    return arrays(rng, int(rng.integers(2, 4)), int(rng.integers(4, 8)), int(rng.integers(2, 5)))


def cell_state(student, inputs):
    _, c = student.lstm_cell(*(np.array(inputs[k]) for k in "xhcWUb"))
    return {"c": c}


def hidden_state(student, inputs):
    h, _ = student.lstm_cell(*(np.array(inputs[k]) for k in "xhcWUb"))
    return {"h": h}


def sequence(student, inputs):
    hs, c = student.lstm(*(np.array(inputs[k]) for k in "xhcWUb"))
    return {"hs": hs, "c": c}


def loop_alone(student, inputs):
    def simple(x, h, c, W, U, b):
        """Not an LSTM, but with the same arguments and results."""
        n = h.shape[-1]
        new = 0.9 * c + x @ W[:, :n]
        return new - 0.5 * h @ U[:, :n] + b[:n], new

    names = vars(student)
    kept, names["lstm_cell"] = names.get("lstm_cell"), simple
    try:
        hs, c = student.lstm(*(np.array(inputs[k]) for k in "xhcWUb"))
    finally:
        names["lstm_cell"] = kept
    return {"hs": hs, "c": c}


def long_memory(rng):
    """Units whose input gate is shut and whose forget gate is open, and the other way round."""
    B, T, D, H = 2, 200, 2, 3
    given = arrays(rng, B, T, D)
    bias = np.array([[-900.0, 900, 0, 900], [900, -900, 0, 900], [-3, 5, 1, 2]])
    bias += rng.normal(size=(3, 4))
    return given | {"h": rng.normal(size=(B, H)), "c": rng.normal(size=(B, H)), "W":
                    rng.normal(size=(D, 4 * H)),
                    "U": 0.3 * rng.normal(size=(H, 4 * H)), "b": bias.T.ravel()}


def hardly_any(rng):
    return arrays(rng, int(rng.integers(2, 4)), 1, int(rng.integers(2, 5)))


def short(student, inputs):
    rest = [np.array(inputs[k]) for k in "hcWUb"]
    one, c_one = student.lstm(np.array(inputs["x"]), *rest)
    none, c_none = student.lstm(np.array(inputs["x"][:, :0]), *rest)
    return {"one_hs": one, "one_c": c_one, "none_hs": none, "none_c": c_none}


TESTS = {
    "cell_state": Scenario(one_step, cell_state),
    "hidden_state": Scenario(one_step, hidden_state),
    "sequence": Scenario(some_steps, sequence),
    "loop": Scenario(some_steps, loop_alone),
    "memory": Scenario(long_memory, sequence, cases=2),
    "short": Scenario(hardly_any, short),
}

Z = "z = x @ W + h @ U + b"
SPLIT = "z_i, z_f, z_g, z_o = np.split(z, 4, axis=-1)"
ACTIVATIONS = "i, f, g, o = sigmoid(z_i), sigmoid(z_f), np.tanh(z_g), sigmoid(z_o)"
C, H = "    c = f * c + i * g\n", "    h = o * np.tanh(c)\n"
STEP = "h, c = lstm_cell(x[:, t], h, c, W, U, b)"
STACK = "(np.stack(hs, axis=1) if hs else x @ W[:, :H]), c"

MISCONCEPTIONS = [
    Misconception("order_ifog", {SPLIT: "z_i, z_f, z_o, z_g = np.split(z, 4, axis=-1)"},
                  "the last two parts are exchanged: candidate and output gate. The order is i, f, g, o.",
                  "后两份弄反了：候选值和输出门。次序是 i、f、g、o。"),
    Misconception("order_figo", {SPLIT: "z_f, z_i, z_g, z_o = np.split(z, 4, axis=-1)"},
                  "input and forget gate are exchanged: the order is i, f, g, o.",
                  "输入门和遗忘门弄反了：次序是 i、f、g、o。"),
    Misconception("order_igfo", {SPLIT: "z_i, z_g, z_f, z_o = np.split(z, 4, axis=-1)"},
                  "forget gate and candidate are exchanged: the order is i, f, g, o.",
                  "遗忘门和候选值弄反了：次序是 i、f、g、o。"),
    Misconception("interleaved", {SPLIT: "z_i, z_f, z_g, z_o = (z[..., k::4] for k in range(4))"},
                  "the four parts are taken from every fourth column: they stand side by side, H columns "
                  "each.",
                  "四份成了隔四列取一列：它们是并排放的，每份连续 H 列。"),
    Misconception("no_tanh_on_candidate", {ACTIVATIONS:
                                           "i, f, g, o = sigmoid(z_i), sigmoid(z_f), z_g, sigmoid(z_o)"},
                  "the candidate is added as it is: it goes through tanh first.",
                  "候选值原样加了进去：它要先过 tanh。"),
    Misconception("sigmoid_candidate", {ACTIVATIONS: "i, f, g, o = sigmoid(z_i), sigmoid(z_f), sigmoid(z_g), "
                                                     "sigmoid(z_o)"},
                  "the candidate went through a sigmoid: then the cell could only ever add positive numbers.",
                  "候选值用了 sigmoid：那样细胞状态就只能加正数。"),
    Misconception("tanh_gates",
                  {ACTIVATIONS: "i, f, g, o = np.tanh(z_i), np.tanh(z_f), np.tanh(z_g), np.tanh(z_o)"},
                  "the gates went through tanh: a gate is a share, between 0 and 1.",
                  "门用了 tanh：门是比例，在 0 和 1 之间。"),
    Misconception("no_recurrence", {Z: "z = x @ W + b"},
                  "the hidden state plays no part in the gates: they do not see the past.",
                  "隐藏状态没有参与各个门：它们看不到过去。"),
    Misconception("no_bias", {Z: "z = x @ W + h @ U"},
                  "the bias is missing.", "漏了偏置。"),
    Misconception("no_input", {Z: "z = h @ U + b"},
                  "the input x plays no part.", "输入 x 没有用上。"),
    Misconception("no_input_gate", {C: "    c = f * c + g\n"},
                  "the candidate is added whole: the input gate decides how much of it.",
                  "候选值整个加进去了：加多少要由输入门决定。"),
    Misconception("no_forget_gate", {C: "    c = c + i * g\n"},
                  "the cell forgets nothing: the forget gate is not used.", "细胞状态什么都不忘：没有用上遗忘门。"),
    Misconception("coupled_gates", {C: "    c = f * c + (1 - f) * g\n"},
                  "this writes what it forgets, 1 - f: here the input gate is a gate of its own.",
                  "这里用 1 - f 来写入，忘多少就写多少：本题的输入门是单独的一个门。"),
    Misconception("no_tanh_on_cell", {H: "    h = o * c\n"},
                  "h_t shows the cell state itself: it goes through tanh first.",
                  "h_t 直接用了细胞状态：要先过 tanh。"),
    Misconception("old_cell", {C: "    old, c = c, f * c + i * g\n", H: "    h = o * np.tanh(old)\n"},
                  "h_t is made from the old cell state: the new one is shown.",
                  "h_t 用的是旧的细胞状态：展示的应是新的。"),
    Misconception("no_output_gate", {H: "    h = np.tanh(c)\n"},
                  "the output gate is not used: h_t shows everything.", "没有用上输出门：h_t 把一切都展示了。"),
    Misconception("results_swapped",
                  {"    h = o * np.tanh(c)\n    return h, c": "    h = o * np.tanh(c)\n    return c, h"},
                  "lstm_cell returns the two states in the wrong order: first h_t, then c_t.",
                  "lstm_cell 返回的两个状态次序反了：先 h_t，后 c_t。"),
    Misconception("state_forgotten", {STEP: "h, c = lstm_cell(x[:, t], h0, c0, W, U, b)"},
                  "every step begins with the state from before the sequence: both states have to be handed "
                  "on.",
                  "每一步都从序列之前的状态开始：两个状态都要一步步传下去。"),
    Misconception("cell_not_handed_on", {STEP: "h, c = lstm_cell(x[:, t], h, c0, W, U, b)"},
                  "h is handed on, but every step begins with c0: the cell state has to go on too.",
                  "h 传下去了，可每一步都从 c0 开始：细胞状态也要传下去。"),
    Misconception("starts_at_zero", {"h, c, hs = h0, c0, []": "h, c, hs = 0 * h0, 0 * c0, []"},
                  "the sequence begins with zeros: the state from before it is passed in.",
                  "序列从零开始了：之前的状态是传进来的。"),
    Misconception("backwards", {"for t in range(T):": "for t in reversed(range(T)):"},
                  "the sequence is read backwards.", "序列倒着读了。"),
    Misconception("last_step_lost", {"for t in range(T):": "for t in range(T - 1):"},
                  "the last step is left out.", "漏了最后一步。"),
    Misconception("time_first", {STACK: "(np.stack(hs, axis=0) if hs else np.zeros((0, len(x), H))), c"},
                  "the steps became the first axis: the batch comes first, hs is (B, T, H).",
                  "时间成了第一个轴：批在前，hs 的形状是 (B, T, H)。"),
    Misconception("cell_states_listed", {"        hs.append(h)\n": "        hs.append(c)\n"},
                  "the cell states were listed: hs holds the hidden states.",
                  "列出来的是细胞状态：hs 应当存隐藏状态。"),
    Misconception("last_hidden", {STACK: "(np.stack(hs, axis=1) if hs else x @ W[:, :H]), h"},
                  "the second result is the last hidden state: the last cell state is wanted.",
                  "第二个结果返回了最后的隐藏状态：要的是最后的细胞状态。"),
    Misconception("one_by_one", {
        SPLIT: "n = h.shape[-1]\n    z_i, z_f, z_g, z_o = z[:, :n], z[:, n:2 * n], z[:, 2 * n:3 * n], z[:, "
               "3 * n:]",
        STACK: "np.array(hs).reshape(T, len(x), H).transpose(1, 0, 2), c"}, "", "", equivalent=True),
    Misconception("filled_in", {
        Z: "z = np.concatenate([x, h], axis=-1) @ np.concatenate([W, U]) + b",
        "h, c, hs = h0, c0, []": "h, c, hs = h0, c0, np.zeros((len(x), T, H))",
        "        hs.append(h)\n": "        hs[:, t] = h\n",
        STACK: "hs, c"}, "", "", equivalent=True),
]
