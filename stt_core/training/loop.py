"""A training run, as a generator: it says what happened, and stops when nobody listens."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray

from stt_core.checkpoint import Checkpoint, save_checkpoint, weights_digest
from stt_core.data.sequences import DataSet
from stt_core.errors import TrainingError
from stt_core.evaluation.predictors import ModelPredictor
from stt_core.evaluation.results import Result
from stt_core.evaluation.run import EvaluateOptions, evaluate
from stt_core.labels import LabelClass
from stt_core.metrics.segmentation import mean_iou
from stt_core.network import Network
from stt_core.stream import Stream
from stt_core.training.batches import Batch, digest_of, load_batches
from stt_core.training.boards import Board, draw_curves
from stt_core.training.config import TrainConfig
from stt_core.training.learner import Learner, Learnt
from stt_core.training.material import class_weights, clips_for, seen_config
from stt_core.training.run import RunFolder, begin_run
from stt_core.training.start import check_same_classes, start_model
from stt_core.training.team import Team, form_team

LAST, BEST = "last.safetensors", "best.safetensors"
_MOMENTUM_WINDOW = 0.05
"""Share of the newest batch in the running confusion that mean IoU is told from."""
_DRAW_SECONDS = 60.0
"""Between two drawings of the curves, while the run goes on."""
_PICTURES = 2
"""Validation frames that TensorBoard is shown."""


@dataclass(frozen=True, slots=True)
class TrainStep:
    """What one step did."""

    step: int
    """1 for the first."""
    steps: int
    loss: float
    mean_iou: float
    """Of the recent training batches, before their steps."""
    learning_rate: float
    seconds: float
    """Since the step before."""
    waited: float = 0.0
    """Of these, for clips to be loaded."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """The loss by what it is made of."""
    notes: tuple[str, ...] = ()
    """What a person should know, one sentence each."""


@dataclass(frozen=True, slots=True)
class TrainData:
    """What a run learns from, and is judged by. All must have the same classes."""

    labelled: Sequence[DataSet]
    """Clips are drawn from each in equal share."""
    unlabelled: Sequence[DataSet] = ()
    validation: Sequence[DataSet] = ()


def train(
    data: TrainData,
    config: TrainConfig,
    out: Path,
    *,
    init: Checkpoint | None = None,
    teacher: Checkpoint | None = None,
    device: str = "cpu",
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Generator[TrainStep, None, Path | None]:
    """Train a model and return where it was saved; None where it was stopped.

    The run folder (:mod:`stt_core.training.run`) gets last.safetensors every `config.save_every`
    steps, at the end, and when the run is stopped or the generator closed between two steps;
    best.safetensors when the validation data says so. What was saved can be gone on from, to the
    same weights as those of a run that was never interrupted.

    Args:
        data: to learn from.
        config: the recipe.
        out: the run folder.
        init: weights to start from; whatever fits is kept.
        teacher: a per-frame network that distillation learns from.
        device: auto, cpu, cuda, cuda:N or mps.
        resume: whether to go on with the run that stands in `out`; from the beginning where it
            has saved nothing yet.
        stop: asked after every step whether to stop; processes that train together do as soon as
            one of them is told so.

    Raises:
        TrainingError: the data, the recipe and the models do not go together, the loss is no
            longer finite, or a run stands in `out` that is not to be resumed.
        DataError: there is nothing to learn from.
        OutputError: the run folder cannot be written.
    """
    classes = _check_data(data, config)
    team = form_team(device)
    if config.batch_size % team.share.size:
        raise TrainingError(
            f"{team.share.size} processes cannot share batches of {config.batch_size} evenly"
        )
    if teacher is not None:
        check_same_classes(teacher, classes, "teacher")
    torch.manual_seed(config.seed)  # weights; each step and the data have seeds of their own
    licences = [part.licence for part in (*data.labelled, *data.unlabelled)]
    begun = start_model(classes, config, init, licences)
    learner = Learner(
        begun, config, team, class_weights=class_weights(data.labelled, config), teacher=teacher
    )
    if team.leads:
        digests = _digests(data, init, teacher)
        begin_run(out, config, digests, team.device, resume=resume)
    team.wait()
    folder = RunFolder(out)
    start, best = 0, -1.0
    recent = np.zeros((len(classes), len(classes)))
    if resume and (state := folder.load_state()) is not None:
        learner.load_state(state)
        start, best, recent = state["step"], state["best"], state["recent"].numpy()
    team.wait()
    if team.leads:
        folder.cut_logs(start)
    run = _Run(begun, learner, folder, data, config, team, start, best)
    batches = load_batches(
        clips_for(data.labelled, config, begun.header),
        clips_for(data.unlabelled, config, begun.header, unlabelled=True),
        seen_config(config, begun.header),
        start=start,
        share=team.share,
    )
    try:
        for step in range(start + 1, config.steps + 1):
            begin = perf_counter()
            rate = learner.set_rate(step - 1)
            batch = next(batches)
            waited = perf_counter() - begin
            learnt = _survive(learner, batch, step - 1)
            recent = recent * (1 - _MOMENTUM_WINDOW) + learnt.confusion
            run.recent = recent
            told = _tell(step, config.steps, learnt, recent, rate, perf_counter() - begin, waited)
            told = replace(told, notes=tuple(learner.notes))
            run.log(told, learnt)
            run.settle(step)
            stopped = bool(team.sum(torch.tensor(float(stop()), device=team.device)))
            try:
                yield told
            except GeneratorExit:
                run.save(step)
                raise
            if stopped and step < config.steps:
                run.save(step)
                return None
    finally:
        batches.close()
        run.close()
    return out / LAST


class _Run:
    """What happens around the steps: logs, checkpoints, looks at the validation data."""

    def __init__(
        self,
        begun: Checkpoint,
        learner: Learner,
        folder: RunFolder,
        data: TrainData,
        config: TrainConfig,
        team: Team,
        start: int,
        best: float,
    ) -> None:
        self._begun, self._learner, self._folder = begun, learner, folder
        self._data, self._config, self._team, self._best = data, config, team, best
        self.recent: NDArray[np.float64] = np.zeros((0, 0))
        """The running confusion of training batches."""
        self._saved = -1
        self._drawn = perf_counter()
        self._board: Board | None = None
        if team.leads:
            self._board = Board(folder.folder, begun.header.classes, start=start)

    def log(self, told: TrainStep, learnt: Learnt) -> None:
        if self._board is None:
            return
        self._folder.append("log.jsonl", asdict(told))
        scalars = {f"loss/{name}": value for name, value in told.parts.items()}
        scalars |= {"loss/total": told.loss, "learning rate": told.learning_rate}
        scalars |= {"gradient norm": learnt.gradient, "train mIoU": told.mean_iou}
        self._board.scalars(told.step, scalars)

    def settle(self, step: int) -> None:
        """What is due after a step."""
        config = self._config
        done = step == config.steps
        due = bool(config.validate_every) and step % config.validate_every == 0
        if self._data.validation and (due or done):
            self._validate(step)
        if done or step % config.save_every == 0:
            self.save(step)

    def save(self, step: int) -> None:
        """Write the model and what is needed to go on, unless that was done at this step."""
        if self._team.leads and self._saved != step:
            self._saved = step
            save_checkpoint(self._folder.folder / LAST, self._result(step))
            state = {"step": step, "best": self._best, "recent": torch.from_numpy(self.recent)}
            self._folder.save_state({**state, **self._learner.state()})
            if step == self._config.steps or perf_counter() - self._drawn > _DRAW_SECONDS:
                self._draw()
        self._team.wait()

    def close(self) -> None:
        """The run ends here, for now."""
        if self._board is not None:
            self._board.close()

    def _draw(self) -> None:
        self._drawn = perf_counter()
        log, validation = (self._folder.read(f"{name}.jsonl") for name in ("log", "validation"))
        draw_curves(self._folder.folder / "curves.png", log, validation)

    def _validate(self, step: int) -> None:
        """Measure on the validation data; keep the model if it was never better."""
        if self._board is not None:
            now = self._result(step)
            network = Network(now, device=str(self._team.device), precision="fp32")
            results = [_measure(network, part) for part in self._data.validation]
            miou = float(np.mean([r.miou for r in results]))
            each = [{"miou": r.miou, "class_iou": r.class_iou} for r in results]
            self._folder.append("validation.jsonl", {"step": step, "miou": miou, "each": each})
            self._board.scalars(step, {"validation mIoU": miou})
            self._show(step, network)
            if miou > self._best:
                self._best = miou
                save_checkpoint(self._folder.folder / BEST, now)
        self._team.wait()

    def _show(self, step: int, network: Network) -> None:
        assert self._board is not None
        for part in self._data.validation[:_PICTURES]:
            sequence = next(s for s in part.sequences if s.labelled)
            image = sequence.image(sequence.labelled[0])
            found = Stream(network).push(image).segmentation
            self._board.picture(step, image, found.labels)

    def _result(self, step: int) -> Checkpoint:
        header = self._begun.header
        line = f"{self._folder.folder.name}: {step} steps"
        header = replace(header, step=header.step + step, lineage=(*header.lineage, line))
        return Checkpoint(header, self._learner.result)


def _measure(network: Network, data: DataSet) -> Result:
    options = EvaluateOptions(protocol=None, boundary=False)
    steps = evaluate(data, [ModelPredictor("validation", network)], options)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value[0]


def _tell(
    step: int,
    steps: int,
    learnt: Learnt,
    recent: NDArray[np.float64],
    rate: float,
    seconds: float,
    waited: float,
) -> TrainStep:
    mean = mean_iou(recent.round().astype(np.int64))
    return TrainStep(step, steps, learnt.loss, mean, rate, seconds, waited, learnt.parts)


def _survive(learner: Learner, batch: Batch, step: int) -> Learnt:
    try:
        return learner.learn(batch, step)
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"the GPU's memory is full at step {step + 1}, beside the batch itself: choose a "
            f"smaller crop or batch_size. What the run saved last is kept"
        ) from error


def _digests(
    data: TrainData, init: Checkpoint | None, teacher: Checkpoint | None
) -> dict[str, str]:
    return {
        "data": digest_of(data.labelled),
        "unlabelled": digest_of(data.unlabelled),
        "validation": digest_of(data.validation),
        "init": "none" if init is None else weights_digest(init),
        "teacher": "none" if teacher is None else weights_digest(teacher),
    }


def _check_data(data: TrainData, config: TrainConfig) -> tuple[LabelClass, ...]:
    """The classes of all the data."""
    if not data.labelled:
        raise TrainingError("there is no data to learn from: name some with --data KIND:PATH")
    if (config.pseudo is None) != (not data.unlabelled):
        raise TrainingError(
            "unlabelled clips are learnt from by a recipe with a pseudo table, and it from them: "
            "give both, --unlabelled and [pseudo], or none"
        )
    every = (*data.labelled, *data.unlabelled, *data.validation)
    names = [[c.name for c in part.classes] for part in every]
    if any(other != names[0] for other in names):
        raise TrainingError(
            f"the data sets have different classes ({', '.join(names[0])} against "
            f"{', '.join(next(n for n in names if n != names[0]))}): train on one of them"
        )
    for part in data.validation:
        if not any(sequence.labelled for sequence in part.sequences):
            raise TrainingError(f"the validation data '{part.spec}' has no labels to judge by")
    return data.labelled[0].classes
