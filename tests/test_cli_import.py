"""import-checkpoint: what it writes, what it prints, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from stt_core.checkpoint import load_checkpoint
from stt_core.formats.model_file import read_header
from stt_core.resources import resource_path
from tests.core.layouts import SemsegPspNet, TdPsp, TorchvisionResNet, randomise
from tests.core.models import images, write_clip
from tests.test_cli import EXACT, HEIGHT, WIDTH, Ran, _keys, call, names_in, program

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("import")


@pytest.fixture(scope="module")
def theirs(place: Path) -> Path:
    """A checkpoint as ETC's training writes it, without its auxiliary head."""
    weights = randomise(SemsegPspNet(18, aux=False), seed=1).state_dict()
    state = {f"module.student.{key}": w for key, w in weights.items()}
    state["module.flownet.conv.weight"] = torch.ones(1)
    torch.save({"epoch": 1, "state_dict": state}, place / "etc.pth")
    return place / "etc.pth"


@pytest.fixture(scope="module")
def backbone(place: Path) -> Path:
    torch.save(randomise(TorchvisionResNet(18), seed=2).state_dict(), place / "resnet18.pth")
    return place / "resnet18.pth"


@pytest.fixture(scope="module")
def imported(place: Path, theirs: Path) -> Ran:
    out = place / "new" / "etc.safetensors"
    return program(place, "import-checkpoint", theirs, "--out", out, "--json")


def test_program_writes_a_model_and_tells_what_became_of_the_tensors(
    imported: Ran, place: Path
) -> None:
    assert imported.code == 0, imported.err
    told = imported.told
    assert told["command"] == "import-checkpoint"
    assert (told["layout"], told["dilation"]) == ("ETC PSPNet18", "etc")
    assert told["mapped"] == 152
    assert told["ignored"] == ["module.flownet.conv.weight"]
    assert told["fresh"] == ["frame.aux"]
    assert len(told["classes"]) == 19
    assert told["classes"][0] == "Road"
    assert told["outputs"] == {"model": str(place / "new" / "etc.safetensors")}
    assert "ETC PSPNet18, dilation scheme etc\n" in imported.out
    assert "152 tensors taken over, 1 left out, written to " in imported.out
    assert all(f"{note}\n" in imported.out for note in told["notes"])
    assert names_in(place / "new") == ["etc.safetensors"]
    header = read_header(place / "new" / "etc.safetensors")
    assert header.licence == "unknown: imported from etc.pth"
    assert header.lineage == ("imported from etc.pth: ETC PSPNet18, dilation scheme etc",)


def test_documented_json_keys_are_those_printed(imported: Ran) -> None:
    assert set(imported.told) == _keys("import-checkpoint")


def test_imported_model_segments(imported: Ran, tmp_path: Path, capsys: Captured) -> None:
    clip = write_clip(tmp_path / "clip.mp4", images(2, (HEIGHT, WIDTH)))
    words = ("--model", imported.told["outputs"]["model"], "--out", tmp_path / "out", *EXACT)
    ran = call(capsys, "segment", clip, *words, "--json")
    assert ran.code == 0, ran.err
    assert ran.told["model"]["config"]["kind"] == "pspnet"
    assert ran.told["model"]["licence"] == "unknown: imported from etc.pth"
    assert names_in(tmp_path / "out" / "labels") == ["000000.png", "000001.png"]


@pytest.mark.slow
def test_imported_td_model_segments(tmp_path: Path, capsys: Captured) -> None:
    state = randomise(TdPsp(18, 4), seed=3).state_dict()
    torch.save(state, tmp_path / "td4.pkl")
    model = tmp_path / "td4.safetensors"
    ran = call(capsys, "import-checkpoint", tmp_path / "td4.pkl", "--out", model, "--json")
    assert ran.code == 0, ran.err
    assert ran.told["layout"] == "TDNet TD4-PSP18"
    clip = write_clip(tmp_path / "clip.mp4", images(6, (HEIGHT, WIDTH)))
    out = tmp_path / "out"
    ran = call(capsys, "segment", clip, "--model", model, "--out", out, *EXACT, "--json")
    assert ran.code == 0, ran.err
    assert ran.told["frames"] == 6


def test_backbone_takes_the_dilation_and_classes_asked_for(
    backbone: Path, tmp_path: Path, capsys: Captured
) -> None:
    listed = {"classes": [{"name": n, "color": [i, 0, 0]} for i, n in enumerate("abc")]}
    (tmp_path / "abc.json").write_text(json.dumps(listed))
    out = tmp_path / "m.safetensors"
    words = ("--dilation", "tdnet", "--classes", tmp_path / "abc.json", "--out", out, "--json")
    ran = call(capsys, "import-checkpoint", backbone, *words)
    assert ran.code == 0, ran.err
    assert ran.told["classes"] == ["a", "b", "c"]
    assert ran.told["dilation"] == "tdnet"
    config = load_checkpoint(out).header.config
    assert (config.num_classes, config.dilation) == (3, "tdnet")  # type: ignore[union-attr]


def test_dilation_of_a_backbone_is_printed_where_it_was_not_chosen(
    backbone: Path, tmp_path: Path, capsys: Captured
) -> None:
    ran = call(capsys, "import-checkpoint", backbone, "--out", tmp_path / "m.safetensors")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("torchvision ResNet-18, dilation scheme etc\n")
    assert "it gets the scheme etc, by default" in ran.out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--out", "m.pth"), "--out ends in .safetensors, got m.pth"),
        (("--out", "m.safetensors", "--dilation", "mmseg"), "trained with the dilation scheme etc"),
        (
            ("--out", "m.safetensors", "--classes", resource_path("classes/camvid11.json")),
            "tells 19 classes apart, but 11 were given",
        ),
        (("--out", "m.safetensors", "--classes", "nothing.json"), "nothing.json is not a class"),
        ((), "Missing option '--out'"),
    ],
)
def test_wrong_options_end_with_2(
    words: tuple[object, ...],
    sentence: str,
    theirs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = call(capsys, "import-checkpoint", theirs, *words, "--json")
    assert ran.code == 2
    assert sentence in ran.told["error"]
    assert ran.told == {"error": ran.told["error"], "exit_code": 2}
    assert names_in(tmp_path) == []


def test_what_cannot_be_placed_ends_with_2_and_writes_nothing(
    tmp_path: Path, capsys: Captured
) -> None:
    torch.save({"conv.weight": torch.ones(1)}, tmp_path / "x.pth")
    for file, sentence in (
        (tmp_path / "x.pth", "of no layout that STT Studio knows"),
        (tmp_path / "nothing.pth", "there is no checkpoint"),
    ):
        out = tmp_path / "m.safetensors"
        ran = call(capsys, "import-checkpoint", file, "--out", out, "--json")
        assert ran.code == 2
        assert sentence in ran.told["error"]
        assert names_in(tmp_path) == ["x.pth"]


def test_the_checkpoint_itself_is_not_replaced(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "m.safetensors").write_bytes(b"theirs")
    file = tmp_path / "m.safetensors"
    ran = call(capsys, "import-checkpoint", file, "--out", file)
    assert ran.code == 2
    assert "would replace" in ran.err
    assert file.read_bytes() == b"theirs"
