"""What the files of a winner's folder are called."""

from __future__ import annotations

WEIGHTS, ONNX, ARCHITECTURE, CARD, PICTURE = (
    "model.safetensors",
    "model.onnx",
    "architecture.json",
    "README.md",
    "front.png",
)
EXAMPLES = "examples.png"
"""For tasks that can be seen: items with what is true and what the model makes of them."""
VOCABULARY = "vocabulary.json"
"""For text: the word of each token id."""
