"""From prompts to texts: tokenizer, batch and stop strings in one call."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minillm.text import CharTokenizer, Tokenizer

from .batch import Batch, LanguageModel
from .text_stream import TextStream


@dataclass(frozen=True)
class Piece:
    """What one token brings.

    Attributes:
        row: of the prompt.
        token: its id.
        text: what it adds to the row's text; "" while that may be the beginning of a stop string.
        reason: why the row ends with it: "eos", "stop" or "length"; None if it goes on.
    """

    row: int
    token: int
    text: str
    reason: str | None


@dataclass(frozen=True)
class Generated:
    """A text that a model wrote.

    Attributes:
        text: without the prompt, cut before the first stop string.
        reason: why it ends: "eos", "stop" or "length".
        ids: all tokens drawn, those of a stop string and the end token included.
    """

    text: str
    reason: str
    ids: list[int]


def generate_text(model: LanguageModel, tokenizer: Tokenizer, prompts: str | Sequence[str], n_tokens: int,
                  **options: Any) -> list[Generated]:
    """What a model writes after each prompt; the prompts are read side by side.

        generate_text(model, tokenizer, ["Once", "Twice"], 100, temperature=0.8, top_p=0.95, stop=["\\n\\n"])

    Args, raises: see `stream_text`.

    Returns:
        For each prompt what was written, in their order.
    """
    prompts = [prompts] if isinstance(prompts, str) else prompts
    pieces: list[list[Piece]] = [[] for _ in prompts]
    for piece in stream_text(model, tokenizer, prompts, n_tokens, **options):
        pieces[piece.row].append(piece)
    return [Generated("".join(p.text for p in row), row[-1].reason or "", [p.token for p in row])
            for row in pieces]


def stream_text(model: LanguageModel, tokenizer: Tokenizer, prompts: str | Sequence[str], n_tokens: int, *,
                stop: str | Sequence[str] = (), eos: Collection[int] | None = None,
                rng: int | np.random.Generator | Sequence[int | np.random.Generator] = 0,
                window: bool = False, **sampling: Any) -> Iterator[Piece]:
    """What a model writes after each prompt, as it comes.

    Args:
        model: see `LanguageModel`; put it in eval mode.
        tokenizer: the model's.
        prompts: one or several texts; see `encode_prompt`.
        n_tokens: how many to draw for each at most.
        stop: strings that end a text; they are not part of it. See `TextStream`.
        eos: ids that end a text; None: the tokenizer's end tokens (`end_ids`).
        rng: a seed, or one (or a generator) for each prompt: see `generators`.
        window: let a text outgrow the model's max_length: see `Batch`.
        sampling: temperature, top_k, top_p, min_p, repetition_penalty, forbidden: see `Sampling`. Ids that
            stand for no text are forbidden in any case.

    Yields:
        A piece for each token; those of several prompts alternate. A row's texts joined are its text.

    Raises:
        ValueError: a prompt is empty or holds a character that the model never saw, an option is out of
            range, or a text may outgrow the model.
    """
    prompts = [prompts] if isinstance(prompts, str) else prompts
    sampling["forbidden"] = {*sampling.get("forbidden", ()), *textless_ids(model, tokenizer)}
    eos = end_ids(tokenizer) if eos is None else eos
    batch = Batch(model, [encode_prompt(tokenizer, text) for text in prompts], n_tokens, rng=rng, eos=eos,
                  window=window, **sampling)
    return _pieces(batch, [TextStream(tokenizer, stop) for _ in prompts])


def _pieces(batch: Batch, streams: list[TextStream]) -> Iterator[Piece]:
    for row, token in batch:
        stream, reason = streams[row], batch.reasons[row]
        text = stream.feed(token)
        if reason is not None:
            text += stream.flush()
        if stream.stopped is not None:
            batch.stop(row)
            reason = "stop"
        yield Piece(row, token, text, reason)


def encode_prompt(tokenizer: Tokenizer, text: str) -> np.ndarray:
    """The ids of a prompt, (T,): before its own what stood before each text that the model learned from.

    That is the tokenizer's `prefix`, such as Llama 3's <|begin_of_text|>; a prompt that begins with it is
    left as it is. Its `suffix` is left out: the text is to go on. An empty prompt is the tokenizer's
    `begin_ids`.

    Raises:
        ValueError: it is empty and there is no token to begin with, or it holds a character that the text
            which the model learned from does not.
    """
    prefix: list[int] = []
    begin: tuple[int, ...] = ()
    if isinstance(tokenizer, CharTokenizer):
        check_known(tokenizer, text, "use a prompt of characters from its text")
    else:
        prefix, begin = list(tokenizer.prefix), tokenizer.begin_ids
    if text == "" and not begin:
        raise ValueError("the prompt is empty: give at least one character")
    ids = tokenizer.encode(text) if text else np.array(begin, np.int64)
    return ids if ids[:len(prefix)].tolist() == prefix else np.concatenate([prefix, ids])


def check_known(tokenizer: CharTokenizer, text: str, way_out: str) -> None:
    """Raise ValueError if `text` holds a character that the text which a model learned from does not."""
    unknown = tokenizer.encode(text) == tokenizer.unk_id
    if unknown.any():
        raise ValueError(f"the model never saw {text[int(np.argmax(unknown))]!r}: {way_out}")


def end_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """The ids that end a text: the tokenizer's `end_ids`; characters have none."""
    return frozenset(() if isinstance(tokenizer, CharTokenizer) else tokenizer.end_ids)


def textless_ids(model: Any, tokenizer: Tokenizer) -> set[int]:
    """The ids that a model has scores for and a tokenizer no text: `<unk>`, and rows that pad the table."""
    V = getattr(getattr(model, "config", None), "vocab_size", tokenizer.vocab_size)
    unknown = {tokenizer.unk_id} if isinstance(tokenizer, CharTokenizer) else set()
    return unknown | set(range(tokenizer.vocab_size, V))
