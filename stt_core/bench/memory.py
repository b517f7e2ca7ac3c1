"""What the temporal block takes besides its ring of keys and values, in a process of its own.

Run as a module it prints JSON: the high-water mark of a process only ever rises, so nothing else
may have happened in it.
"""

from __future__ import annotations

import json
import subprocess
import sys

import psutil


def block_megabytes(size: tuple[int, int], width: int, precision: str) -> float:
    """Megabytes beyond the ring for one frame, on the CPU.

    Args:
        size: rows and columns of the feature map.
        width: channels.
        precision: fp32 or bf16.
    """
    command = [
        sys.executable,
        "-m",
        "stt_core.bench.memory",
        *map(str, size),
        str(width),
        precision,
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(json.loads(told.splitlines()[-1])["megabytes"])


def _measure(rows: int, cols: int, width: int, precision: str) -> float:
    import torch

    from stt_core.config import PspNetConfig, SttConfig
    from stt_core.evaluation.speed import high_water
    from stt_core.model.build import build_model
    from stt_core.model.video import Extracted

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    config = SttConfig(per_frame=PspNetConfig(num_classes=19, width=width))
    model = build_model(config).eval().to(dtype)
    with torch.inference_mode():
        # once at a small size, so that compiled kernels and libraries are in memory already
        small = model.project(Extracted(torch.randn(1, width, 16, 16, dtype=dtype)))
        model.decode(small, [small] * 7)
        ring = [
            model.project(Extracted(torch.randn(1, width, rows, cols).to(dtype))) for _ in range(8)
        ]
        before = psutil.Process().memory_info().rss
        model.decode(ring[0], ring[1:])
    return (high_water() - before) / 1e6


if __name__ == "__main__":
    rows, cols, width = map(int, sys.argv[1:4])
    print(json.dumps({"megabytes": _measure(rows, cols, width, sys.argv[4])}))  # noqa: T201
