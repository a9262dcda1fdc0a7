"""`minillm generate`: text from a trained model."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from minillm.cli.open_model import MODEL_HELP, open_model
from minillm.errors import UserError
from minillm.generate import Hypothesis, Piece, Sampling, TextStream, beam_search, stream_text
from minillm.generate.batch import check_length
from minillm.generate.beam import check_length_penalty
from minillm.generate.text import encode_prompt, end_ids, textless_ids
from minillm.text import CharTokenizer, Tokenizer, read_text

SAMPLING = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")


def _option(name: str, text: str) -> Any:
    return typer.Option(f"--{name}", help=text)


def generate(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)],
    prompt: Annotated[list[str] | None, _option(
        "prompt", "What the text begins with; several are written side by side. Left out: a new line, or "
        "the token that begins a text. Before it comes what a text began with in training, such as "
        "<|begin_of_text|>.")] = None,
    prompt_file: Annotated[Path | None, _option("prompt-file", "A UTF-8 file with the prompt.")] = None,
    length: Annotated[int, _option("length", "Tokens to write at most.")] = 400,
    temperature: Annotated[float, _option(
        "temperature", "Below 1 safer, above wilder; 0: always the likeliest.")] = 0.7,
    top_p: Annotated[float, _option(
        "top-p", "Draw from the likeliest tokens that together have this probability.")] = 1.0,
    top_k: Annotated[int | None, _option("top-k", "Draw from the k likeliest.")] = None,
    min_p: Annotated[float, _option(
        "min-p", "Draw from tokens with at least this share of the likeliest's probability.")] = 0.0,
    repetition_penalty: Annotated[float, _option(
        "repetition-penalty", "Above 1: make what was there before less likely.")] = 1.0,
    beams: Annotated[int | None, _option(
        "beams", "Search for a probable text with so many beams, instead of drawing.")] = None,
    length_penalty: Annotated[float | None, _option(
        "length-penalty", "With --beams: the higher, the longer the text that wins (1: the mean of log p).")
    ] = None,
    stop: Annotated[list[str] | None, _option(
        "stop", "End before this string, or at this special token; may be repeated. With --beams it cuts "
        "the text that was found: the search knows nothing of it.")] = None,
    seed: Annotated[int, _option("seed", "Same seed, same text.")] = 0,
    stats: Annotated[bool, _option("stats", "Print tokens per second to standard error.")] = False,
) -> None:
    """Let a model go on after a prompt, and print the text as it comes. Ctrl-C ends it.

    Example:  minillm generate runs/lm --prompt "The " --temperature 0.7 --top-p 0.95 --seed 1
    """
    for option, value, least in (("length", length, 1), ("seed", seed, 0), ("beams", beams, 1)):
        if value is not None and value < least:
            raise UserError(f"{option} = {value} must be at least {least}")
    if "" in (stop or ()):
        raise UserError('--stop is empty: give at least one character, as in --stop "."')
    if beams is not None:
        _refuse_sampling(context)
    elif length_penalty is not None:
        raise UserError("--length-penalty is an option of beam search: add --beams 4, or leave it out")
    prompts = _prompts(prompt, prompt_file)
    alpha = 1.0 if length_penalty is None else length_penalty
    sampling: dict[str, Any] = {"temperature": temperature, "top_p": top_p, "top_k": top_k,
                                "min_p": min_p, "repetition_penalty": repetition_penalty}
    try:
        Sampling(**sampling)  # before a model is loaded
        check_length_penalty(alpha, length)
        model, tokenizer = open_model(name)
        if prompts is None:
            prompts = [_beginning(tokenizer)]
        if beams is not None:
            pieces = _searched(model, tokenizer, prompts, length, beams, alpha, stop or ())
        else:
            pieces = stream_text(model, tokenizer, prompts, length, stop=stop or (), rng=seed, window=True,
                                 **sampling)
        clock = _Clock(pieces, len(prompts), sum(len(encode_prompt(tokenizer, text)) for text in prompts))
        _print(clock, prompts)
    except ValueError as error:
        raise UserError(str(error)) from error
    if stats:
        print(clock.search() if beams is not None else clock.report(), file=sys.stderr)


def _refuse_sampling(context: typer.Context) -> None:
    for name in (*SAMPLING, "seed"):
        given = context.get_parameter_source(name)
        if given is not None and given.name == "COMMANDLINE":
            raise UserError(f"--beams draws nothing: leave out --{name.replace('_', '-')}")


def _prompts(prompt: list[str] | None, file: Path | None) -> list[str] | None:
    if file is not None:
        if prompt:
            raise UserError("--prompt and --prompt-file are both given: leave out one")
        return [read_text(file)]
    if prompt and "" in prompt:
        raise UserError('the prompt is empty: give at least one character, as in --prompt "The "')
    return prompt or None


def _beginning(tokenizer: Tokenizer) -> str:
    """The prompt where none is given: "", the token that begins a text, or a new line if there is none."""
    if isinstance(tokenizer, CharTokenizer):
        return "\n" if "\n" in tokenizer.characters else tokenizer.characters[0]
    return "" if tokenizer.begin_ids else "\n"


def _searched(model: Any, tokenizer: Tokenizer, prompts: list[str], length: int, beams: int, alpha: float,
              stop: Sequence[str]) -> Iterator[Piece]:
    """The pieces of the best text after each prompt; a mistake is found before the first is searched for."""
    ids = [encode_prompt(tokenizer, text) for text in prompts]
    TextStream(tokenizer, stop)
    if model.max_length is not None:
        check_length(max(map(len, ids)), length, model.max_length)
    options: dict[str, Any] = {"n_beams": beams, "length_penalty": alpha, "eos": end_ids(tokenizer),
                               "forbidden": textless_ids(model, tokenizer)}
    return (piece for row, prompt in enumerate(ids)
            for piece in _found(row, beam_search(model, prompt, length, **options)[0], tokenizer, stop))


def _found(row: int, best: Hypothesis, tokenizer: Tokenizer, stop: Sequence[str]) -> Iterator[Piece]:
    stream = TextStream(tokenizer, stop)
    for i, token in enumerate(best.ids):
        last = i == len(best.ids) - 1
        yield Piece(row, token, stream.feed(token) + (stream.flush() if last else ""),
                    best.reason if last else None)


def _print(pieces: Iterable[Piece], shown: list[str]) -> None:
    """The texts one after the other; the first that is not finished is written as it comes."""
    waiting = [[text] for text in shown]
    ended, current = [False] * len(shown), 0

    def write() -> None:
        sys.stdout.write("".join(waiting[current]))
        sys.stdout.flush()
        waiting[current].clear()

    try:
        write()
        for piece in pieces:
            waiting[piece.row].append(piece.text)
            ended[piece.row] = piece.reason is not None
            write()
            while ended[current] and current + 1 < len(shown):
                current += 1
                sys.stdout.write("\n---\n")
                write()
    except KeyboardInterrupt:  # the reader has seen enough
        pass
    finally:
        sys.stdout.write("\n")


class _Clock:
    """The pieces as they come, and the time they took: the first waits for the prompts to be read."""

    def __init__(self, pieces: Iterable[Piece], n_rows: int, n_prompt: int) -> None:
        self._pieces, self._n_rows, self._n_prompt, self._n = pieces, n_rows, n_prompt, 0
        self._begin = self._first = self._last = time.perf_counter()

    def __iter__(self) -> Iterator[Piece]:
        for piece in self._pieces:
            self._last = time.perf_counter()
            self._n += 1
            if self._n == 1:
                self._first = self._last
            yield piece

    def report(self) -> str:
        """The rates of reading and of writing; the first step's tokens come with the reading."""
        later = max(0, self._n - self._n_rows)
        return (f"prompt: {_rate(self._n_prompt, self._first - self._begin)}; "
                f"after the first step: {_rate(later, self._last - self._first)}")

    def search(self) -> str:
        """The rate of a search, which gives its tokens at the end."""
        return f"search: {_rate(self._n, self._last - self._begin)}"


def _rate(n: int, seconds: float) -> str:
    rate = f" ({n / seconds:,.1f} tokens/s)" if seconds > 0 else ""
    return f"{n} tokens in {seconds:.2f} s{rate}"
