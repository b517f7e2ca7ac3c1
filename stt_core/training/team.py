"""The processes that train together: one alone, or those that torchrun or accelerate started."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta

import torch
from torch import Tensor, nn

from stt_core.device import find_device
from stt_core.errors import TrainingError
from stt_core.training.batches import Share


class Team(ABC):
    """What a process has to know of the others."""

    device: torch.device
    share: Share

    @property
    def leads(self) -> bool:
        """Whether it is the one that writes and speaks."""
        return self.share.rank == 0

    @abstractmethod
    def join(self, module: nn.Module) -> nn.Module:
        """Have the gradients of a module averaged over all processes."""

    @abstractmethod
    def sum(self, x: Tensor) -> Tensor:
        """The sum over all processes, the same in each."""

    @abstractmethod
    def wait(self) -> None:
        """Until all are here."""

    @abstractmethod
    def apart(self, module: nn.Module) -> AbstractContextManager[None]:
        """While gradients are only gathered, and not exchanged yet."""


class Alone(Team):
    """One process."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.share = device, Share()

    def join(self, module: nn.Module) -> nn.Module:
        return module

    def sum(self, x: Tensor) -> Tensor:
        return x

    def wait(self) -> None:
        return

    def apart(self, module: nn.Module) -> AbstractContextManager[None]:
        return nullcontext()


class Together(Team):
    """Several processes, by Hugging Face accelerate."""

    def __init__(self, *, cpu: bool) -> None:
        try:
            from accelerate import (
                Accelerator,
                DistributedDataParallelKwargs,
                InitProcessGroupKwargs,
            )
        except ImportError as error:
            raise TrainingError(
                "several processes were started, and the package accelerate that joins them is "
                "not installed: pip install accelerate"
            ) from error
        # paths of a TDNet take turns, and a frozen encoder gets no gradient
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)
        # the others wait while one looks at the validation data
        patient = InitProcessGroupKwargs(timeout=timedelta(days=1))
        # the recipe says in which precision; what the launcher was told does not count
        self._engine = Accelerator(cpu=cpu, mixed_precision="no", kwargs_handlers=[unused, patient])
        self.device = self._engine.device
        self.share = Share(self._engine.process_index, self._engine.num_processes)

    def join(self, module: nn.Module) -> nn.Module:
        if self.device.type == "cuda":
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return self._engine.prepare_model(module)

    def sum(self, x: Tensor) -> Tensor:
        return self._engine.reduce(x, "sum")

    def wait(self) -> None:
        self._engine.wait_for_everyone()

    def apart(self, module: nn.Module) -> AbstractContextManager[None]:
        return self._engine.no_sync(module)


def form_team(device: str) -> Team:
    """The team this process belongs to, by the environment that its launcher set.

    Args:
        device: auto, cpu, cuda, cuda:N or mps; of several processes each takes its own GPU.

    Raises:
        DeviceError: this machine does not have it.
        TrainingError: accelerate is needed and not there.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Alone(find_device(device))
    return Together(cpu=find_device(device).type == "cpu")
