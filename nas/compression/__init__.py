"""What makes networks smaller and faster: passes, and the pipeline that they stand in."""

from typing import TYPE_CHECKING

from nas.lazy import import_on_demand

if TYPE_CHECKING:
    from nas.compression.adapters import Adapter, FreezeAndReconfigure, Learners
    from nas.compression.circulant import Circulant
    from nas.compression.cluster import Cluster
    from nas.compression.fine_tune import FineTune
    from nas.compression.half import Half
    from nas.compression.imitate import WideThenNarrow
    from nas.compression.int8 import Int8
    from nas.compression.low_bit_recurrent import LowBitRecurrent
    from nas.compression.low_rank import LowRank
    from nas.compression.packed_file import PackedFile
    from nas.compression.partial import PartialFineTune
    from nas.compression.pipeline import CompressionPass, Lab, Model, Pipeline
    from nas.compression.prune import Prune
    from nas.compression.qat import Qat
    from nas.compression.schedules import Gradual, RigL, StaticMask
    from nas.compression.selective import SelectiveInt8
    from nas.compression.sparse_file import SparseFile
    from nas.compression.sparsify import Sparsify
    from nas.compression.weight_only import WeightOnly
else:
    __getattr__ = import_on_demand(
        __name__,
        {
            "nas.compression.adapters": "Adapter FreezeAndReconfigure Learners",
            "nas.compression.circulant": "Circulant",
            "nas.compression.cluster": "Cluster",
            "nas.compression.fine_tune": "FineTune",
            "nas.compression.half": "Half",
            "nas.compression.imitate": "WideThenNarrow",
            "nas.compression.int8": "Int8",
            "nas.compression.low_bit_recurrent": "LowBitRecurrent",
            "nas.compression.low_rank": "LowRank",
            "nas.compression.partial": "PartialFineTune",
            "nas.compression.packed_file": "PackedFile",
            "nas.compression.pipeline": "CompressionPass Lab Model Pipeline",
            "nas.compression.prune": "Prune",
            "nas.compression.qat": "Qat",
            "nas.compression.schedules": "Gradual RigL StaticMask",
            "nas.compression.selective": "SelectiveInt8",
            "nas.compression.sparse_file": "SparseFile",
            "nas.compression.sparsify": "Sparsify",
            "nas.compression.weight_only": "WeightOnly",
        },
    )

__all__ = [
    "Adapter",
    "Circulant",
    "Cluster",
    "CompressionPass",
    "FineTune",
    "FreezeAndReconfigure",
    "Gradual",
    "Half",
    "Int8",
    "Lab",
    "Learners",
    "LowBitRecurrent",
    "LowRank",
    "Model",
    "PackedFile",
    "PartialFineTune",
    "Pipeline",
    "Prune",
    "Qat",
    "RigL",
    "SelectiveInt8",
    "SparseFile",
    "Sparsify",
    "StaticMask",
    "WeightOnly",
    "WideThenNarrow",
]
