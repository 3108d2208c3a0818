"""What this machine can compute in bfloat16."""

from __future__ import annotations

from typing import Any


def no_bf16(device: Any) -> str:
    """Return why torch should not compute in bfloat16 on this torch device; empty if it has the hardware.

    Without instructions for it torch emulates bfloat16, slower than float32.
    """
    import torch

    if device.type == "cuda":
        has = torch.cuda.is_bf16_supported(including_emulation=False)
        return "" if has else "this GPU has no bfloat16"
    if device.type != "cpu":
        return f"bfloat16 is not tried on a {device.type} device"
    # Absent from older torch versions, which then are not asked to.
    ask = getattr(torch.cpu, "get_capabilities", dict)
    found: dict[str, Any] = dict(ask())
    has = found.get("avx512_bf16") or found.get("amx_bf16") or found.get("amx_tile")
    return "" if has else "this CPU has neither avx512_bf16 nor amx_bf16"
