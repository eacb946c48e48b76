"""Masked language modelling (Devlin 2019, "BERT")."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.checks import check_integers, check_kind, check_numbers
from nas.data.text import PADDING, UNKNOWN
from nas.errors import StudyError
from nas.inputs import Inputs, InputSpec, call_network
from nas.progress import Pretext
from nas.splits import Split
from nas.supernet.pretraining.features import Leading, check_settings, draw_subnets, run_in_evaluation
from nas.supernet.supernet import Supernet
from nas.supernet.token_layers import Embedding
from nas.training import Losses, Recipe

_HIDDEN, _RANDOM = 0.8, 0.1
"""Shares of the words to be predicted that are hidden, and replaced; the others stay (Devlin 2019, section 3.1)."""


@final
@dataclass(frozen=True)
class MaskedLanguage:
    """Some words of every text are hidden, and predicted from the others (Devlin 2019, task 1).

    A word is predicted from the last vector that the network makes of its token, through a layer that is thrown away
    afterwards, by comparison with all rows of the network's own embedding. Every batch trains the largest subnet, the
    smallest and random ones.

    A *variant*: hidden words become the unknown word, because vocabularies have no id for hidden ones, and so unknown
    words aren't predicted; neither is the next sentence.

    Args:
        recipe: How long and how fast.
        rate: Share of the words to be predicted.
        num_random: Subnets between the largest and the smallest.

    Raises:
        StudyError: a setting is out of range.
    """

    recipe: Recipe
    rate: float = 0.15
    num_random: int = 1

    files: ClassVar[tuple[Path, ...]] = ()

    def __post_init__(self) -> None:
        check_kind("MaskedLanguage", "recipe", self.recipe, Recipe, "a Recipe such as Recipe(epochs=30)")
        check_integers(self, "num_random")
        check_numbers(self, "rate")
        check_settings("MaskedLanguage", self.recipe, self.num_random)
        if not 0 < self.rate < 1:
            raise StudyError(f"MaskedLanguage has rate={self.rate}: a share between 0 and 1 is expected.")

    def pretext(self, supernet: Supernet, data: Split, inputs: InputSpec) -> Pretext:
        """Return the task of predicting hidden words.

        Raises:
            StudyError: items are no texts, or the network has no embedding or no vector for each token.
        """
        if not inputs.is_ids or len(inputs.shapes) != 1 or len(inputs.shapes[0]) != 1:
            raise StudyError(
                f"MaskedLanguage() takes texts as ids of tokens and the data hold a {inputs.item} of the shapes "
                f"{inputs.shapes}: leave it out, or use Contrastive() for images."
            )
        assert isinstance(data.inputs, Tensor)
        num_words = int(data.inputs.max()) + 1
        words = _embedding(supernet, num_words)
        layer, width = _last_of_tokens(supernet, inputs.blank(1, words.device))
        decoder = nn.Sequential(Leading(width, words.shape[1]), nn.GELU(), nn.LayerNorm(words.shape[1]))
        bias = nn.ParameterList([torch.zeros(num_words)])

        def step(ids: Inputs, _targets: Tensor, generator: torch.Generator) -> Losses:
            assert isinstance(ids, Tensor)
            hidden, chosen = hide_words(ids, self.rate, num_words)
            for architecture in draw_subnets(supernet, self.num_random, generator):
                with supernet.active(architecture):
                    decoded = decoder(_output_of(layer, supernet, hidden)[chosen])
                # By the embedding's whole rows, also of a narrow subnet: the decoder gives it the full width.
                predicted = F.linear(decoded, words[:num_words], bias[0]).log_softmax(1)
                yield F.nll_loss(predicted, ids[chosen])

        return Pretext(nn.ModuleList([supernet, decoder, bias]), data, step)


def hide_words(ids: Tensor, rate: float, num_words: int) -> tuple[Tensor, Tensor]:
    """Return texts with some words hidden, and which words are to be predicted; draws from torch's global generator.

    Of those to be predicted 80 % become the unknown word, 10 % a random one, and 10 % stay. Padding and unknown words
    are left alone; where no text holds another word, the unknown ones are predicted.

    Args:
        ids: ``(n, length)`` int64.
        rate: Probability of each word to be predicted.
        num_words: Ids are smaller than this.
    """
    draw, fate = torch.rand(ids.shape, device=ids.device), torch.rand(ids.shape, device=ids.device)
    chosen = (ids > UNKNOWN) & (draw < rate)
    if not chosen.any():
        chosen = ids > UNKNOWN if bool((ids > UNKNOWN).any()) else ids != PADDING
    others = torch.randint(min(UNKNOWN + 1, num_words - 1), num_words, ids.shape, device=ids.device)
    hidden = torch.where(chosen & (fate < _HIDDEN), UNKNOWN, ids)
    replaced = chosen & (fate >= _HIDDEN) & (fate < _HIDDEN + _RANDOM)
    return torch.where(replaced, others, hidden), chosen


def _embedding(supernet: Supernet, num_words: int) -> Tensor:
    """Return the weights of the network's embedding of words."""
    for module in supernet.modules():
        if isinstance(module, Embedding | nn.Embedding) and len(module.weight) >= num_words:
            return module.weight
    raise StudyError(
        f"MaskedLanguage() compares words with the network's embedding, and it has none with {num_words} rows or more: "
        "give it an nn.Embedding, or a nas.supernet.token_layers.Embedding."
    )


def _last_of_tokens(supernet: Supernet, ids: Inputs) -> tuple[nn.Module, int]:
    """Return the last module that gives a vector for each token of a text, and its width."""
    assert isinstance(ids, Tensor)
    found: list[tuple[nn.Module, int]] = []

    def remember(module: nn.Module, _: tuple[Any, ...], output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 3 and output.shape[:2] == ids.shape:
            found.append((module, output.shape[2]))

    hooks = [m.register_forward_hook(remember) for m in supernet.modules()]
    try:
        run_in_evaluation(supernet, lambda: call_network(supernet, ids))
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise StudyError(
            "MaskedLanguage() needs a vector for each token, and no module of the network gives (n, length, width): "
            "let one do so before the tokens are averaged, or leave MaskedLanguage() out."
        )
    return found[-1]


def _output_of(layer: nn.Module, supernet: Supernet, ids: Tensor) -> Tensor:
    seen: list[Tensor] = []
    hook = layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    try:
        call_network(supernet, ids)
    finally:
        hook.remove()
    return seen[-1]
