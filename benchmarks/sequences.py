"""Words backwards, by an encoder-decoder Transformer and by a recurrent one of as many parameters.

    python -m benchmarks.sequences --seeds 0 1 2

Both are taught on the same words (scikit-learn's, or with ``--table`` those of another table below ``NAS_DATA``), with
the same recipe, and judged by the answers that they write alone for words that they have not seen. The recurrent
network is a bidirectional GRU, and a GRU that attends to it (Luong 2015). It trains for as many epochs, and once more
for as many seconds of processor time as the Transformer took. *Copied* is the character error rate of an answer that is
the word itself. Ten minutes of one core.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas import Recipe
from nas.evaluation import CharacterErrorRate, SubnetCandidate, WordErrorRate
from nas.evaluation.counts import count_macs, count_params
from nas.evaluation.quality.measuring import collect_statistics
from nas.splits import Splits
from nas.supernet import Supernet
from nas.training import make_supervised_step, train
from search_spaces.sequence_transformer import sequence_transformer
from studies.reversed_words import ReversedWords

CPU = torch.device("cpu")
OF_SPACE = {"width": 48, "encoder.depth": 2, "decoder.depth": 1}
"""The Transformer; heads and ratios are the largest."""
WIDTHS = range(24, 129, 4)


class Recurrent(nn.Module):
    """A bidirectional GRU, and a GRU whose states look for the source's by their scalar product.

    Args:
        num_tokens: Ids are smaller than this.
        width: Features of a token and of a state.
    """

    def __init__(self, num_tokens: int, width: int) -> None:
        super().__init__()
        self.source_embedding = nn.Embedding(num_tokens, width)
        self.answer_embedding = nn.Embedding(num_tokens, width)
        self.encoder = nn.GRU(width, width // 2, batch_first=True, bidirectional=True)
        self.decoder = nn.GRU(width, width, batch_first=True)
        self.mixing = nn.Linear(2 * width, width)
        self.head = nn.Linear(width, num_tokens)

    def forward(self, source: Tensor, answer: Tensor) -> Tensor:
        """``(n, source_length)`` and ``(n, length)`` ids to ``(n, num_tokens, length)``."""
        seen, last = self.encoder(self.source_embedding(source))
        first = last.transpose(0, 1).flatten(1).unsqueeze(0).contiguous()
        states, _ = self.decoder(self.answer_embedding(answer), first)
        scores = states @ seen.transpose(1, 2) - 1e4 * (source == 0).float().unsqueeze(1)
        mixed = torch.tanh(self.mixing(torch.cat([states, scores.softmax(-1) @ seen], dim=-1)))
        logits: Tensor = self.head(mixed)
        return logits.transpose(1, 2)


def transformer(splits: Splits) -> nn.Module:
    """Return a network of the space."""
    source, answer = splits.inputs.shapes
    supernet = Supernet(sequence_transformer(len(splits.vocabulary), source[0], answer[0]))
    return supernet.extract(supernet.space.architecture({**supernet.space.largest(), **OF_SPACE}))


def recurrent(splits: Splits) -> nn.Module:
    """Return a recurrent network of about as many parameters."""
    wanted = count_params(transformer(splits))
    made = [Recurrent(len(splits.vocabulary), width) for width in WIDTHS]
    return min(made, key=lambda network: abs(count_params(network) - wanted))


def results_of(network: nn.Module, splits: Splits, recipe: Recipe, seed: int) -> tuple[float, float, float]:
    """Return word error rate, character error rate, and the seconds of processor time of the training."""
    begin = time.process_time()
    train(
        network,
        make_supervised_step(network, splits.task, recipe),
        splits.train,
        recipe,
        seed=seed,
        device=CPU,
    )
    seconds = time.process_time() - begin
    candidate = SubnetCandidate(network.eval(), splits.inputs)
    rates = [
        quality.value(collect_statistics(quality, candidate, splits.test))
        for quality in (WordErrorRate(), CharacterErrorRate())
    ]
    return rates[0], rates[1], seconds


def measure_copying(splits: Splits) -> float:
    """Return the character error rate of answers that are the words themselves."""
    source, _ = splits.test.inputs
    padded = F.pad(source, (0, splits.test.targets.shape[1] - source.shape[1]))
    outputs = F.one_hot(padded, len(splits.vocabulary)).transpose(1, 2).float()
    quality = CharacterErrorRate()
    return quality.value(quality.statistics(outputs, splits.test.targets).numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--table", help="Such as text/sms_spam/sms_spam.tsv.")
    parser.add_argument("--limit", type=int, help="How many words to use; all unless stated.")
    parser.add_argument("--epochs", type=int, default=40)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    splits = ReversedWords(arguments.table, arguments.limit).load()
    recipe = Recipe(epochs=arguments.epochs, batch_size=32, learning_rate=2e-3, weight_decay=0.05)
    print(
        f"{splits.name}: {len(splits.train)} to train, {len(splits.test)} to test; copied {measure_copying(splits):.3f}"
    )
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for seed in arguments.seeds:
        torch.manual_seed(seed)
        made = {"Transformer": transformer(splits), "recurrent": recurrent(splits)}
        again = recurrent(splits)
        for name, network in made.items():
            print(
                f"{name}: {count_params(network):,} parameters, {count_macs(network, splits.inputs):,} MACs"
            )
            rows.setdefault(name, []).append(results_of(network, splits, recipe, seed))
        taken = [rows[name][-1][2] for name in made]
        longer = replace(recipe, epochs=max(1, round(recipe.epochs * taken[0] / taken[1])))
        print(f"recurrent, for as many seconds: {longer.epochs} epochs")
        rows.setdefault("recurrent, as many seconds", []).append(results_of(again, splits, longer, seed))
        print({name: [round(value, 3) for value in found[-1]] for name, found in rows.items()}, flush=True)
    print(f"\nmean ± standard deviation of {len(arguments.seeds)} seeds, after {recipe.epochs} epochs")
    print("network | word error rate | character error rate | seconds")
    for name, found in rows.items():
        print(name, *(_format_mean([values[column] for values in found]) for column in range(3)), sep=" | ")


def _format_mean(values: list[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):.3f} ± {spread:.3f}"


if __name__ == "__main__":
    main()
