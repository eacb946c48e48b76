"""Networks as people write them for themselves."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.networks.entry import Network


class GroupNormResNet(nn.Module):
    """Residual blocks with group normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.convs = nn.ModuleList(nn.Conv2d(64, 64, 3, padding=1, bias=False) for _ in range(6))
        self.norms = nn.ModuleList(nn.GroupNorm(8, 64) for _ in range(7))
        self.down = nn.Conv2d(64, 128, 3, stride=2, padding=1)
        self.last = nn.GroupNorm(16, 128)
        self.head = nn.Linear(128, 10)

    def forward(self, images: Tensor) -> Tensor:
        """``(n, 3, h, w)`` to ``(n, 10)``."""
        x = F.relu(self.norms[6](self.stem(images)))
        for i in range(0, 6, 2):
            hidden = F.relu(self.norms[i](self.convs[i](x)))
            x = F.relu(x + self.norms[i + 1](self.convs[i + 1](hidden)))
        logits: Tensor = self.head(F.relu(self.last(self.down(x))).mean((2, 3)))
        return logits


class M5(nn.Module):
    """Raw audio to classes (Dai 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv1d(1, 32, 80, stride=16), nn.BatchNorm1d(32)
        self.conv2, self.bn2 = nn.Conv1d(32, 32, 3), nn.BatchNorm1d(32)
        self.conv3, self.bn3 = nn.Conv1d(32, 64, 3), nn.BatchNorm1d(64)
        self.conv4, self.bn4 = nn.Conv1d(64, 64, 3), nn.BatchNorm1d(64)
        self.pool, self.head = nn.MaxPool1d(2), nn.Linear(64, 35)

    def forward(self, audio: Tensor) -> Tensor:
        """``(n, 1, samples)`` to ``(n, 35)``."""
        x = self.pool(F.relu(self.bn1(self.conv1(audio))))
        x = self.pool(F.relu(self.bn2(self.conv2(x))))
        x = self.pool(F.relu(self.bn3(self.conv3(x))))
        x = self.pool(F.relu(self.bn4(self.conv4(x))))
        return F.log_softmax(self.head(x.mean(-1)), dim=-1)


class CausalBlock(nn.Module):
    """Dilated causal convolutions with a skip connection (Bai 2018)."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.first = nn.Conv1d(width, width, 3, dilation=dilation)
        self.second = nn.Conv1d(width, width, 3, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, width, length)``, kept."""
        hidden = F.relu(self.first(F.pad(x, (2 * self.dilation, 0))))
        hidden = F.relu(self.second(F.pad(hidden, (2 * self.dilation, 0))))
        return F.relu(x + hidden)


def temporal_network() -> nn.Module:
    """Return a temporal convolutional network."""
    blocks = [CausalBlock(64, 2**i) for i in range(4)]
    return nn.Sequential(
        nn.Conv1d(6, 64, 1), *blocks, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(64, 5)
    )


def voxel_network() -> nn.Module:
    """Return a network on volumes."""
    return nn.Sequential(
        nn.Conv3d(1, 32, 3, padding=1),
        nn.BatchNorm3d(32),
        nn.ReLU(),
        nn.MaxPool3d(2),
        nn.Conv3d(32, 64, 3, padding=1),
        nn.BatchNorm3d(64),
        nn.ReLU(),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


class LstmClassifier(nn.Module):
    """Tokens to classes by a bidirectional LSTM of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(500, 64)
        self.lstm = nn.LSTM(64, 96, num_layers=2, bidirectional=True, batch_first=True)
        self.hidden, self.head = nn.Linear(192, 64), nn.Linear(64, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(n, length)`` to ``(n, 4)``."""
        output, _ = self.lstm(self.embedding(tokens))
        logits: Tensor = self.head(F.relu(self.hidden(output.mean(1))))
        return logits


class GruTagger(nn.Module):
    """A label for every token; the last state isn't used."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(500, 64)
        self.gru = nn.GRU(64, 128, batch_first=True)
        self.head = nn.Linear(128, 9)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(n, length)`` to ``(n, length, 9)``."""
        logits: Tensor = self.head(self.gru(self.embedding(tokens))[0])
        return logits


class Crnn(nn.Module):
    """Convolutions, then a GRU along the width: text in images."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.gru = nn.GRU(64, 64, bidirectional=True, batch_first=True)
        self.head = nn.Linear(128, 37)

    def forward(self, images: Tensor) -> Tensor:
        """``(n, 1, h, w)`` to ``(n, w / 4, 37)``."""
        columns = self.convs(images).mean(2).transpose(1, 2)
        logits: Tensor = self.head(self.gru(columns)[0])
        return logits


def _double(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class OwnUnet(nn.Module):
    """An encoder and a decoder with concatenations between them."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = _double(3, 32), _double(32, 64), _double(64, 128)
        self.up2, self.up1 = nn.ConvTranspose2d(128, 64, 2, stride=2), nn.ConvTranspose2d(64, 32, 2, stride=2)
        self.join2, self.join1 = _double(128, 64), _double(64, 32)
        self.head = nn.Conv2d(32, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        """``(n, 3, h, w)`` to ``(n, 3, h, w)``."""
        one = self.down1(images)
        two = self.down2(F.max_pool2d(one, 2))
        x = self.bottom(F.max_pool2d(two, 2))
        x = self.join2(torch.cat([self.up2(x), two], 1))
        x = self.join1(torch.cat([self.up1(x), one], 1))
        logits: Tensor = self.head(x)
        return logits


class RmsBlock(nn.Module):
    """A pre-norm Transformer block with RMSNorm, separate projections and a gated MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim = heads, width // heads
        self.q_proj, self.k_proj = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.v_proj, self.o_proj = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.norm1, self.norm2 = nn.RMSNorm(width), nn.RMSNorm(width)
        self.gate, self.up = nn.Linear(width, 4 * width, bias=False), nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, length, width)``, kept."""
        n, length, _ = x.shape
        y = self.norm1(x)
        q, k, v = (
            layer(y).view(n, length, -1, self.head_dim).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o_proj(mixed.transpose(1, 2).reshape(n, length, -1))
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class SmallDecoder(nn.Module):
    """Tokens to the next one, in the way of LLaMA."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(256, 128)
        self.blocks = nn.ModuleList(RmsBlock(128, 4) for _ in range(4))
        self.norm, self.head = nn.RMSNorm(128), nn.Linear(128, 256, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(n, length)`` to ``(n, length, 256)``."""
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.norm(x))
        return logits


class PaddedEncoder(nn.Module):
    """Torch's encoder, with a mask where the tokens are padding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(500, 64, padding_idx=0)
        self.positions = nn.Parameter(torch.randn(1, 32, 64) * 0.02)
        layer = nn.TransformerEncoderLayer(64, 4, 256, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 4)
        self.head = nn.Linear(64, 6)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(n, length)`` to ``(n, 6)``."""
        padding = tokens == 0
        x = self.embedding(tokens) + self.positions[:, : tokens.shape[1]]
        x = self.encoder(x, src_key_padding_mask=padding)
        kept = (~padding).unsqueeze(-1).to(x)
        logits: Tensor = self.head((x * kept).sum(1) / kept.sum(1))
        return logits


class BySize(nn.Module):
    """Large images go another way than small ones."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, padding=1)
        self.fine, self.coarse = _double(32, 48), _double(32, 48)
        self.body, self.head = _double(48, 64), nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        """``(n, 3, h, w)`` to ``(n, 10)``."""
        x = F.relu(self.stem(images))
        x = F.max_pool2d(self.coarse(x), 2) if images.shape[-1] > 32 else self.fine(x)
        logits: Tensor = self.head(self.body(x).mean((2, 3)))
        return logits


class ByContent(nn.Module):
    """Dark images go another way than bright ones."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, padding=1)
        self.bright, self.dark = nn.Conv2d(32, 32, 3, padding=1), nn.Conv2d(32, 32, 5, padding=2)
        self.body, self.head = _double(32, 64), nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        """``(n, 3, h, w)`` to ``(n, 10)``."""
        x = F.relu(self.stem(images))
        x = x + (self.bright(x) if images.mean() > 0 else self.dark(x))
        logits: Tensor = self.head(self.body(x).mean((2, 3)))
        return logits


class PointNet(nn.Module):
    """Points to classes (Qi 2017), without its transforms."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 64, 64, 128, 256)
        self.convs = nn.ModuleList(nn.Conv1d(a, b, 1) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm1d(b) for b in widths[1:])
        self.hidden, self.head = nn.Linear(256, 128), nn.Linear(128, 40)

    def forward(self, points: Tensor) -> Tensor:
        """``(n, 3, points)`` to ``(n, 40)``."""
        x = points
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.relu(norm(conv(x)))
        logits: Tensor = self.head(F.dropout(F.relu(self.hidden(x.amax(2))), 0.3, self.training))
        return logits


class Siamese(nn.Module):
    """Two images to one number, by one tower that both go through."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Sequential(
            _double(1, 32), nn.MaxPool2d(2), _double(32, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.hidden, self.head = nn.Linear(128, 64), nn.Linear(64, 1)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Two ``(n, 1, h, w)`` to ``(n, 1)``."""
        both = torch.cat([self.tower(left), self.tower(right)], 1)
        score: Tensor = self.head(F.relu(self.hidden(both)))
        return score


def autoencoder() -> nn.Module:
    """Return a convolutional autoencoder."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1),
        nn.Sigmoid(),
    )


def tabular_network() -> nn.Module:
    """Return a perceptron with batch norm and dropout."""
    return nn.Sequential(
        nn.Linear(20, 256),
        nn.BatchNorm1d(256),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(256, 128),
        nn.SiLU(),
        nn.Linear(128, 2),
    )


def _make_padded_tokens(at: slice) -> Tensor:
    tokens = torch.randint(1, 500, (4, 16))
    tokens[1:, at] = 0
    return tokens


def list_handwritten_networks() -> list[Network]:
    """Return all, in the order of the table."""
    return [
        Network("GroupNormResNet", "own", GroupNormResNet, lambda: torch.randn(2, 3, 32, 32)),
        Network("M5", "own", M5, lambda: torch.randn(2, 1, 8000)),
        Network("temporal_network", "own", temporal_network, lambda: torch.randn(2, 6, 50)),
        Network("voxel_network", "own", voxel_network, lambda: torch.randn(2, 1, 8, 8, 8)),
        Network("LstmClassifier", "own", LstmClassifier, lambda: torch.randint(0, 500, (2, 12))),
        Network("GruTagger", "own", GruTagger, lambda: torch.randint(0, 500, (2, 12))),
        Network("Crnn", "own", Crnn, lambda: torch.randn(2, 1, 32, 64)),
        Network("OwnUnet", "own", OwnUnet, lambda: torch.randn(2, 3, 32, 32)),
        Network("SmallDecoder", "own", SmallDecoder, lambda: torch.randint(0, 256, (2, 12))),
        Network(
            "PaddedEncoder",
            "own",
            PaddedEncoder,
            lambda: _make_padded_tokens(slice(10, 16)),
            (lambda: torch.randint(1, 500, (4, 16)), lambda: _make_padded_tokens(slice(3, 6))),
        ),
        Network(
            "BySize", "own", BySize, lambda: torch.randn(2, 3, 48, 48), (lambda: torch.randn(2, 3, 24, 24),)
        ),
        Network(
            "ByContent",
            "own",
            ByContent,
            lambda: torch.rand(2, 3, 24, 24),
            (lambda: -torch.rand(2, 3, 24, 24),),
        ),
        Network("PointNet", "own", PointNet, lambda: torch.randn(2, 3, 64)),
        Network("Siamese", "own", Siamese, lambda: (torch.randn(2, 1, 16, 16), torch.randn(2, 1, 16, 16))),
        Network("autoencoder", "own", autoencoder, lambda: torch.randn(2, 1, 32, 32)),
        Network("tabular_network", "own", tabular_network, lambda: torch.randn(8, 20)),
    ]
