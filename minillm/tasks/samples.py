"""A text that a model writes while it is trained, from a random stream of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minillm.generate import LanguageModel, generate_text
from minillm.generate.text import encode_prompt
from minillm.text import CharTokenizer, Tokenizer

TOKENS = 100
TEMPERATURE = 0.8


@dataclass(frozen=True)
class Writer:
    """step -> what the model writes after `prompt` at that step.

    The random numbers are a function of seed and step alone: training draws none fewer and none more.

    Attributes:
        model: in eval mode when it is called.
        tokenizer: of the model.
        prompt: what the text begins with; "" stands for a new line, or the first character if there is none.
        seed: of the run.

    Raises:
        ValueError: the prompt holds a character that a character tokenizer has not seen.
    """

    model: LanguageModel
    tokenizer: Tokenizer
    prompt: str
    seed: int

    def __post_init__(self) -> None:
        try:
            encode_prompt(self.tokenizer, self._beginning())
        except ValueError as error:
            raise ValueError(f"sample_prompt = {self.prompt!r}: {error}") from None

    def __call__(self, step: int) -> str:
        seed = np.random.SeedSequence([self.seed, step]).generate_state(1, np.uint64)[0]
        try:
            new, = generate_text(self.model, self.tokenizer, self._beginning(), TOKENS, rng=int(seed),
                                 temperature=TEMPERATURE, window=True)
        except ValueError:  # scores that are not finite: training says so at its next step
            return self.prompt
        return self.prompt + new.text

    def _beginning(self) -> str:
        if self.prompt:
            return self.prompt
        characters = self.tokenizer.characters if isinstance(self.tokenizer, CharTokenizer) else "\n"
        return "\n" if "\n" in characters else characters[0]
