"""A program that works on a project and is killed: run by test_killing.py, once for all kills.

Reads lines "pass|export seconds project out" and answers each with what a child had acknowledged
when it was killed that long after its start, and "killed" or "ended". Everything is imported and
the model loaded once, so that the children begin with the work.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from itertools import count
from pathlib import Path

import torch

from stt_core.media.source import open_media
from stt_core.network import Network
from stt_core.project.predictions import folding
from stt_core.project.store import Project
from stt_core.workflow.exporting import ExportRequest, export_project
from stt_core.workflow.prediction_pass import PassOptions, predict_media
from tests.core.workflow.material import finish, network

FORMATS = ("png", "voc", "hdf5", "npz", "cvat")


def _pass(project: Path, net: Network, tell: int) -> None:
    with Project.open(project, write=False) as opened:
        path = opened.media_path(opened.media[0].id)
        assert path is not None
        with open_media(path) as media:
            options = PassOptions(frames=range(len(media)))
            for step in predict_media(net, media, opened.predictions, options):
                os.write(tell, f"{step.frame}\n".encode())


def _export(project: Path, out: Path, tell: int) -> None:
    with Project.open(project, write=False) as opened:
        for number in count():
            name = FORMATS[number % len(FORMATS)]
            target = out / f"{os.getpid()}-{number}-{name}"
            request = ExportRequest(format=name, target=target, media=opened.media)
            exported = finish(export_project(opened, request))
            os.write(tell, f"{exported.report.path}\n".encode())  # type: ignore[attr-defined]


def _kill_one(kind: str, seconds: float, project: Path, out: Path, net: Network) -> str:
    hear, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(hear)
        code = 1
        try:
            if kind == "pass":
                _pass(project, net, tell)
            else:
                _export(project, out, tell)
            code = 0
        finally:
            os._exit(code)
    os.close(tell)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    told = b""
    while chunk := os.read(hear, 4096):
        told += chunk
    os.close(hear)
    failed = os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0
    end = "failed" if failed else "killed" if os.WIFSIGNALED(status) else "ended"
    return " ".join([end, *told.decode().split()])


if __name__ == "__main__":
    torch.set_num_threads(1)  # a fork has none of its parent's threads
    folding.SEGMENT_FRAMES = 5  # so that many moments lie in the folding
    made = network(Path(sys.argv[1]))
    for line in sys.stdin:
        kind, seconds, project, out = line.rstrip("\n").split(" ", 3)
        sys.stdout.write(_kill_one(kind, float(seconds), Path(project), Path(out), made) + "\n")
        sys.stdout.flush()
