"""Weights that are mostly 0, stored as what is left and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import onnx
from onnx import helper, numpy_helper

from nas.choices import Option
from nas.compression.onnx_files import Packed, StoringPass, pack_weights
from nas.compression.pipeline import Lab, Model
from nas.compression.settings import check_options
from nas.errors import ExportError


@final
@dataclass(frozen=True)
class SparseFile(StoringPass):
    """Stores weights as ONNX's sparse constants where that takes fewer bytes.

    A position takes 8 bytes and a float32 4, so it pays below a third of the weights: 10 % take 30 % of the bytes, 2 %
    take 6 %. ONNX Runtime makes them dense when it reads the file; answers are the same bit for bit, and neither
    speed nor memory change. Put it last: tools that look for weights may not see them there.

    Args:
        name: Name of the pass.
    """

    name: str = "sparse"

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        """Return the same network in a smaller file; as it is where no weight has enough zeros.

        Raises:
            ExportError: there is no file.
            SpaceError: there are options.
        """
        check_options(self.choices(), options)
        if model.onnx is None:
            raise ExportError(
                f"the pass {self.name!r} works on a file and there is none: export the module before."
            )
        proto = onnx.load_model_from_string(model.onnx)
        count = pack_weights(proto.graph, _make_sparse)
        if not count:
            return model
        said = f"sparse: {count} weights stored as what isn't 0, and where"
        # The module stays: it computes what the file does.
        return replace(model, onnx=proto.SerializeToString(), applied=(*model.applied, said))


def _make_sparse(name: str, values: np.ndarray[Any, Any]) -> Packed | None:
    """Return a weight as what isn't 0, if that takes fewer bytes.

    An operator makes it dense. The standard's sparse initializers would be sparse tensors, which its convolutions
    don't take.
    """
    if values.ndim == 0 or not values.any():
        return None
    positions = np.flatnonzero(values)
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(values.ravel()[positions], f"{name}_values"),
        numpy_helper.from_array(positions.astype(np.int64), f"{name}_positions"),
        values.shape,
    )
    node = helper.make_node("Constant", [], [name], sparse_value=sparse)
    is_smaller = node.ByteSize() < numpy_helper.from_array(values, name).ByteSize()
    return Packed([], [node]) if is_smaller else None
