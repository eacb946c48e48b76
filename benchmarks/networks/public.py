"""Networks of torchvision, timm, transformers and segmentation_models_pytorch, with random weights."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from benchmarks.networks.entry import Network

# By name, the side of the image; small ones, so that the list is done in an hour on two cores.
TORCHVISION = {
    "squeezenet1_1": 64,
    "googlenet": 64,
    "resnet18": 64,
    "resnet50": 64,
    "resnext50_32x4d": 64,
    "densenet121": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_small": 64,
    "mnasnet1_0": 64,
    "efficientnet_b0": 64,
    "efficientnet_v2_s": 64,
    "regnet_x_400mf": 64,
    "regnet_y_400mf": 64,
    "shufflenet_v2_x1_0": 64,
    "convnext_tiny": 64,
    "swin_t": 64,
    "swin_v2_t": 64,
}
SEGMENTATION = ("deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large", "fcn_resnet50")
VIDEO = ("r3d_18", "mc3_18", "r2plus1d_18")
TIMM: dict[str, Mapping[str, Any]] = {
    "efficientnet_lite0": {},
    "tf_efficientnet_b0": {},
    "mobilenetv4_conv_small": {},
    "lcnet_050": {},
    "mixnet_s": {},
    "ghostnet_100": {},
    "hardcorenas_a": {},
    "semnasnet_075": {},
    "rexnet_100": {},
    "repvgg_a0": {},
    "mobileone_s0": {},
    "regnetx_002": {},
    "regnety_002": {},
    "resnet26d": {},
    "res2net50_14w_8s": {},
    "resnetv2_50": {},
    "nf_resnet26": {},
    "dla34": {},
    "hrnet_w18_small": {},
    "ese_vovnet19b_dw": {},
    "cspresnet50": {},
    "convnext_atto": {},
    "convnextv2_atto": {},
    "edgenext_xx_small": {},
    "poolformer_s12": {},
    "fastvit_t8": {},
    "efficientvit_b0": {},
    "mobilevit_s": {},
    "vit_tiny_patch16_224": {"img_size": 64},
    "deit_tiny_patch16_224": {"img_size": 64},
    "deit3_small_patch16_224": {"img_size": 64},
    "beit_base_patch16_224": {"img_size": 64, "depth": 4},
    "cait_xxs24_224": {"img_size": 64},
    "swin_tiny_patch4_window7_224": {"img_size": 64, "window_size": 4},
    "pvt_v2_b0": {},
    "levit_128s": {"img_size": 64},
    "mixer_s32_224": {"img_size": 64},
    "resmlp_12_224": {"img_size": 64},
    "xcit_nano_12_p16_224": {"img_size": 64},
}
SMP: dict[str, tuple[str, str]] = {
    "Unet": ("Unet", "resnet18"),
    "Unet mobilenet_v2": ("Unet", "mobilenet_v2"),
    "UnetPlusPlus": ("UnetPlusPlus", "resnet18"),
    "FPN": ("FPN", "resnet18"),
    "Linknet": ("Linknet", "resnet18"),
    "PSPNet": ("PSPNet", "resnet18"),
    "DeepLabV3Plus": ("DeepLabV3Plus", "mobilenet_v2"),
    "MAnet": ("MAnet", "resnet18"),
}
_SMALL = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 256}
_TEXT = {**_SMALL, "vocab_size": 500}
_IMAGE = {**_SMALL, "image_size": 64}
TRANSFORMERS: dict[str, tuple[str, str, Mapping[str, Any]]] = {
    "BertForSequenceClassification": ("BertForSequenceClassification", "BertConfig", _TEXT),
    "DistilBertForSequenceClassification": (
        "DistilBertForSequenceClassification",
        "DistilBertConfig",
        {"dim": 128, "n_layers": 4, "n_heads": 4, "hidden_dim": 256, "vocab_size": 500},
    ),
    "RobertaForSequenceClassification": ("RobertaForSequenceClassification", "RobertaConfig", _TEXT),
    "ElectraForSequenceClassification": (
        "ElectraForSequenceClassification",
        "ElectraConfig",
        {**_TEXT, "embedding_size": 64},
    ),
    "AlbertForSequenceClassification": (
        "AlbertForSequenceClassification",
        "AlbertConfig",
        {**_TEXT, "embedding_size": 64},
    ),
    "GPT2ForSequenceClassification": (
        "GPT2ForSequenceClassification",
        "GPT2Config",
        {"n_embd": 128, "n_layer": 4, "n_head": 4, "vocab_size": 500, "pad_token_id": 0, "use_cache": False},
    ),
    "LlamaForSequenceClassification": (
        "LlamaForSequenceClassification",
        "LlamaConfig",
        {**_TEXT, "num_key_value_heads": 2, "pad_token_id": 0, "use_cache": False},
    ),
    "T5EncoderModel": (
        "T5EncoderModel",
        "T5Config",
        {"d_model": 128, "d_kv": 32, "d_ff": 256, "num_layers": 4, "num_heads": 4, "vocab_size": 500},
    ),
    "ViTForImageClassification": ("ViTForImageClassification", "ViTConfig", _IMAGE),
    "DeiTForImageClassification": ("DeiTForImageClassification", "DeiTConfig", _IMAGE),
    "SegformerForImageClassification": (
        "SegformerForImageClassification",
        "SegformerConfig",
        {"hidden_sizes": [16, 32, 64, 128], "depths": [2, 2, 2, 2], "num_attention_heads": [1, 2, 4, 8]},
    ),
    "ConvNextForImageClassification": (
        "ConvNextForImageClassification",
        "ConvNextConfig",
        {"hidden_sizes": [32, 64, 128, 256], "depths": [2, 2, 2, 2]},
    ),
    "ResNetForImageClassification": (
        "ResNetForImageClassification",
        "ResNetConfig",
        {"embedding_size": 32, "hidden_sizes": [64, 128, 256, 256], "depths": [2, 2, 2, 2]},
    ),
    "Wav2Vec2ForSequenceClassification": (
        "Wav2Vec2ForSequenceClassification",
        "Wav2Vec2Config",
        {**_SMALL, "conv_dim": [64] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4},
    ),
}


def _library(name: str) -> Any:
    """Import a library when one of its networks is built: all of them take longer than most conversions."""
    return importlib.import_module(name)


def _image(side: int) -> Callable[[], Tensor]:
    return lambda: torch.randn(2, 3, side, side)


def _tokens() -> dict[str, Tensor]:
    """Return named inputs, as users of transformers call their networks."""
    return {
        "input_ids": torch.randint(1, 500, (2, 12)),
        "attention_mask": torch.ones(2, 12, dtype=torch.long),
    }


def _torchvision(name: str) -> Callable[[], nn.Module]:
    more = {"init_weights": True} if name == "googlenet" else {}
    return lambda: getattr(models, name)(weights=None, **more)  # type: ignore[no-any-return]


def _segmentation(name: str) -> Callable[[], nn.Module]:
    return lambda: getattr(models.segmentation, name)(weights=None, weights_backbone=None)  # type: ignore[no-any-return]


def _video(name: str) -> Callable[[], nn.Module]:
    return lambda: getattr(models.video, name)(weights=None)  # type: ignore[no-any-return]


def _timm(name: str, more: Mapping[str, Any]) -> Callable[[], nn.Module]:
    return lambda: _library("timm").create_model(name, pretrained=False, **more)  # type: ignore[no-any-return]


def _smp(kind: str, encoder: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        made = getattr(_library("segmentation_models_pytorch"), kind)
        return made(encoder_name=encoder, encoder_weights=None, classes=4)  # type: ignore[no-any-return]

    return build


def _transformer(kind: str, config: str, settings: Mapping[str, Any]) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        library = _library("transformers")
        return getattr(library, kind)(getattr(library, config)(**settings))  # type: ignore[no-any-return]

    return build


def _transformer_input(kind: str) -> Callable[[], Any]:
    if "Image" in kind:
        return lambda: {"pixel_values": torch.randn(2, 3, 64, 64)}
    if kind.startswith("Wav2Vec2"):
        return lambda: {"input_values": torch.randn(2, 4000)}
    return _tokens


def public_networks() -> list[Network]:
    """Return all, in the order of the table."""
    found = [Network(n, "torchvision", _torchvision(n), _image(side)) for n, side in TORCHVISION.items()]
    vit = Network("vit_b_16", "torchvision", lambda: models.vit_b_16(weights=None, image_size=64), _image(64))
    found.append(vit)
    found += [Network(n, "torchvision", _segmentation(n), _image(64)) for n in SEGMENTATION]
    found += [Network(n, "torchvision", _video(n), lambda: torch.randn(2, 3, 4, 32, 32)) for n in VIDEO]
    found += [Network(n, "timm", _timm(n, more), _image(64)) for n, more in TIMM.items()]
    found += [Network(n, "smp", _smp(*parts), _image(64)) for n, parts in SMP.items()]
    found += [
        Network(n, "transformers", _transformer(*parts), _transformer_input(parts[0]))
        for n, parts in TRANSFORMERS.items()
    ]
    return found
