"""How other libraries take the array of a Tensor: NumPy's protocol, DLPack and CUDA's."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from minialex.arrays import Array, device_of


class Exchange:
    """What makes a Tensor an array to other libraries; the class is split for reading only."""

    __slots__ = ()

    # Tensor's
    data: Array
    requires_grad: bool

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        self._check_no_graph()
        device = device_of(self.data)
        if device.kind != "cpu":
            raise TypeError(f"this Tensor is on {device}: use .numpy() to copy it to the host")
        return np.array(self.data, dtype=dtype, copy=copy)

    def _check_no_graph(self) -> None:
        """Refuse to hand the array to another library where a gradient would be lost."""
        if self.requires_grad:
            raise RuntimeError(
                "another library would lose the gradient of this Tensor: use minialex.ops, or "
                ".detach() or .numpy() for its values alone"
            )

    def __dlpack__(self, **options: Any) -> Any:
        self._check_no_graph()
        return self.data.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.data.__dlpack_device__()

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        interface: dict[str, Any] = self.data.__cuda_array_interface__  # type: ignore[attr-defined]
        self._check_no_graph()
        return interface
