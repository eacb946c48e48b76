"""What the files of a winner's folder are called."""

from __future__ import annotations

from nas.compression.pipeline import PLAIN

WEIGHTS, ONNX, ARCHITECTURE, CARD, PICTURE = (
    "model.safetensors",
    "model.onnx",
    "architecture.json",
    "README.md",
    "front.png",
)
EXAMPLES = "examples.png"
"""For tasks that can be seen: items with what is true and what the model makes of them."""
CONFUSION = "confusion.png"
"""For classes: which of them the model takes for which, on the search and on the test split."""
PICTURES = (PICTURE, EXAMPLES, CONFUSION)
VOCABULARY = "vocabulary.json"
"""For text: the word of each token id."""


def variant_file(variant: str) -> str:
    """Return the file name of a variant: ``model.onnx`` for fp32, ``model.int8.onnx`` for int8."""
    return ONNX if variant == PLAIN else f"model.{variant}.onnx"


def variant_note(variant: str) -> str:
    """Return the name of the file that says what was done to a variant."""
    return f"model.{variant}.json"


def variant_weights(variant: str) -> str:
    """Return the name of a variant's weights, which it has where passes changed its module."""
    return WEIGHTS if variant == PLAIN else f"model.{variant}.safetensors"


def variant_files(variant: str) -> tuple[str, str, str]:
    """Return the names of all files that a variant may have."""
    return variant_file(variant), variant_note(variant), variant_weights(variant)
