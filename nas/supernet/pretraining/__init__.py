"""What a supernet learns before its training, from items that nobody labelled."""

from nas.supernet.pretraining.contrastive import Contrastive
from nas.supernet.pretraining.masked_language import MaskedLanguage
from nas.supernet.pretraining.specialized_embedding import SpecializedEmbedding

__all__ = ["Contrastive", "MaskedLanguage", "SpecializedEmbedding"]
