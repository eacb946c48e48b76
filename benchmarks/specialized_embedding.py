"""What a small network learns of a large one's embedding: from a domain's items, and from items of all kinds.

    python -m benchmarks.specialized_embedding --data $NAS_DATA --out runs/specialized

The teacher tells the ten classes of Fashion-MNIST apart. The domain is pullovers, coats and shirts, which are hard to
tell apart. A student learns the teacher's embedding for as many steps, without labels, from as many items: of the
domain (twice, as the principal components are found on random items or by k-means), of all ten classes, or of the
domain with as many components as the teacher has features. Then logistic regression learns from few labelled items of
the domain on top of what each gives. Beside them the teacher's own embedding, and the student as it is initialised.
What is printed is the accuracy on items of the domain in the test part; ``--search`` judges on items of train that
nothing else sees. A seed is of the choice of items, the weights and the order of batches; there is one teacher.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torchvision.datasets import FashionMNIST

from nas import Recipe, SpecializedEmbedding, choice
from nas.choices import Size
from nas.evaluation.from_scratch import fresh_network
from nas.export.folder import load_weights, save_weights
from nas.inputs import Inputs, InputSpec
from nas.splits import Split
from nas.supernet import Supernet, elastic
from nas.supernet.pretraining.features import Features
from nas.tasks import Classification
from nas.training import make_supervised_step, train

Embed = Callable[[Inputs], Tensor]
CPU = torch.device("cpu")
IMAGES = InputSpec.of_one((1, 28, 28))
DOMAIN = (2, 4, 6)
"""Pullovers, coats and shirts."""
TEACHER = (32, 64, 128)
RECIPE = Recipe(epochs=15, batch_size=125)
PER_CLASS = 20
"""Labelled items of the domain."""


def teacher() -> nn.Module:
    """Return a network of three convolutions."""
    return network(TEACHER)


def student() -> nn.Module:
    """Return the same with a quarter of the widths, or an eighth."""
    return network(
        tuple(choice(f"{number}.width", size // 8, size // 4) for number, size in enumerate(TEACHER))
    )


def network(widths: tuple[Size, ...]) -> nn.Module:
    layers: list[nn.Module] = []
    for before, width in zip((1, *widths[:-1]), widths, strict=True):
        layers += [
            elastic.Conv2d(before, width, 3, stride=2, padding="same", bias=False),
            elastic.BatchNorm2d(width),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), elastic.Linear(widths[-1], 10))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--out", type=Path, default=Path("runs/specialized"), help="keeps the teacher")
    parser.add_argument("--items", type=int, default=1500, help="without labels, of the domain or of all")
    parser.add_argument("--size", type=int, default=8, help="components")
    parser.add_argument("--search", action="store_true", help="judge on items of the train part")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    train_part, test_part = (load_part(arguments.data, train=part) for part in (True, False))
    weights = train_teacher(train_part, arguments.out / "teacher.safetensors")
    rows: dict[str, list[float]] = {}
    for seed in arguments.seeds:
        begin = time.process_time()
        for name, value in measure_embeddings(train_part, test_part, weights, seed, arguments).items():
            rows.setdefault(name, []).append(value)
        told = ", ".join(f"{name} {values[-1]:.4f}" for name, values in rows.items())
        print(f"seed {seed}: {told}; {time.process_time() - begin:.0f} s of a core", flush=True)
    sizes = [
        sum(p.numel() for p in made.parameters())
        for made in (make_network(teacher), fresh_network(student, 0))
    ]
    print(
        f"{sizes[0]:,} parameters of the teacher, {sizes[1]:,} of the student: {sizes[0] / sizes[1]:.1f} times"
    )
    for name, values in rows.items():
        spread = statistics.stdev(values) if len(values) > 1 else float("nan")
        print(f"{name:32s} {100 * statistics.mean(values):.1f} ± {100 * spread:.1f} %")


def load_part(root: Path, *, train: bool) -> Split:
    data = FashionMNIST(str(root), train=train)
    images = (data.data.unsqueeze(1).float() / 255 - 0.286) / 0.353
    return Split(images, data.targets.long())


def make_network(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        made: nn.Module = make()
    return made


def train_teacher(data: Split, path: Path) -> Path:
    """Return the weights of the teacher, trained on the first 10,000 items."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made, recipe = make_network(teacher), Recipe(epochs=5, batch_size=125)
        few = data.subset(torch.arange(10_000))
        train(made, make_supervised_step(made, Classification(10), recipe), few, recipe, seed=0, device=CPU)
        save_weights(path, made)
    return path


def measure_embeddings(
    data: Split, test: Split, weights: Path, seed: int, arguments: argparse.Namespace
) -> dict[str, float]:
    """Return the accuracy on top of each embedding."""
    rng = np.random.default_rng(seed)
    order = torch.from_numpy(10_000 + rng.permutation(len(data) - 10_000))
    targets = data.targets[order]
    is_domain = torch.isin(targets, torch.tensor(DOMAIN))
    ours, everything = order[is_domain][: arguments.items], order[: arguments.items]
    later = order[is_domain][arguments.items :]
    labelled = torch.cat([later[data.targets[later] == one][:PER_CLASS] for one in DOMAIN])
    judged = data.subset(later[1000:4000]) if arguments.search else test
    judged = judged.subset(torch.isin(judged.targets, torch.tensor(DOMAIN)).nonzero().flatten())
    plain = SpecializedEmbedding(RECIPE, teacher, weights, size=arguments.size, num_random=0)
    width = TEACHER[-1]
    learned = {
        "domain, random sample": (plain, ours),
        "domain, k-means sample": (dataclasses.replace(plain, sampler="kmeans"), ours),
        "all classes": (plain, everything),
        "domain, all components": (dataclasses.replace(plain, size=width), ours),
    }
    embeddings = {name: train_student(how, data.subset(rows), seed) for name, (how, rows) in learned.items()}
    large, small = make_network(teacher), fresh_network(student, seed)
    load_weights(weights, large)
    embeddings["student, untrained"] = embed_by(small)
    embeddings["teacher"] = embed_by(large)
    return {name: accuracy(embed, data.subset(labelled), judged) for name, embed in embeddings.items()}


def embed_by(made: nn.Module) -> Embed:
    features = Features(made.eval(), IMAGES, "the network")
    return lambda images: features.of(images)


def train_student(how: SpecializedEmbedding, data: Split, seed: int) -> Embed:
    """Return what gives the embedding that a student learned."""
    supernet: Supernet = fresh_network(student, seed)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        pretext = how.pretext(supernet, data, IMAGES)
    train(pretext.module, pretext.step, pretext.data, how.recipe, seed=seed, device=CPU)
    features, projection = Features(supernet, IMAGES, "the network"), pretext.module[1]  # type: ignore[index]
    return lambda images: projection(features.of(images))


def accuracy(embed: Embed, labelled: Split, judged: Split) -> float:
    def embed_all(split: Split) -> NDArray[np.float64]:
        with torch.no_grad():
            parts: list[Tensor] = [embed(inputs) for inputs in split.batches(500)]
        return torch.cat(parts).double().numpy()

    known, asked = embed_all(labelled), embed_all(judged)
    scale = known.std(0) + 1e-9
    model = LogisticRegression(max_iter=5000).fit(known / scale, labelled.targets)
    return float(model.score(asked / scale, judged.targets))


if __name__ == "__main__":
    main()
