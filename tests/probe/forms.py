"""The ways into the probe: each takes the name of a program of the zoo, and gives what was reported.

`python tests/probe/forms.py [NAME ...]` prints what is wrong, and a table of the forms.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.util
import io
import json
import logging
import os
import re
import socket
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import zoo
from torch import distributed, nn
from torch.utils.data import DataLoader

import nalu_lint.probe
from nalu_lint.probe import UntrainedError, check, construction, pytest_plugin
from nalu_lint.probe.errors import in_one_line
from nalu_lint.probe.script import run_script

HERE = Path(__file__).parent
SCRIPT, DISTRIBUTED = HERE / "zoo_script.py", HERE / "zoo_distributed.py"
LONGEST = 10  # steps; the default of the command


class CannotRunError(Exception):
    """The program makes no sense in this form; says why."""


def by_api(name: str) -> set[zoo.Expected]:
    report = zoo.run(zoo.PROGRAMS[name].make())
    for diagnostic in report.findings:
        assert Path(diagnostic.path).suffix == ".py", f"{diagnostic.code} points nowhere: {diagnostic.path}"
        assert "\n" not in diagnostic.message
    return zoo.reported(report)


def by_check(name: str, check: Callable[..., Any] = check) -> set[zoo.Expected]:
    program = zoo.PROGRAMS[name].make()
    if program.has_own_loop:
        raise CannotRunError("it has a training loop of its own")
    if not any(parameter.requires_grad for parameter in program.build().parameters()):
        raise CannotRunError("what trains is no part of the model")
    models: list[nn.Module] = []

    def build() -> nn.Module:
        models.append(program.build())
        return models[-1]

    def optimizer(parameters: object) -> Any:
        return program.optimizer(models[-1])

    return zoo.reported(check(build, program.loss, program.batch, steps=program.steps, optimizer=optimizer))


def by_fixture(name: str) -> set[zoo.Expected]:
    """The fixture of pytest fails where there is an error. Its message is cut short, the report is whole."""
    reports: list[Any] = []

    def noted(*arguments: Any, **options: Any) -> Any:
        reports.append(check(*arguments, **options))
        return reports[-1]

    def by_its_fixture(*arguments: Any, **options: Any) -> Any:
        codes = set()
        try:
            with mock.patch.object(nalu_lint.probe, "check", noted, create=True):
                pytest_plugin.assert_trains.__wrapped__()(*arguments, **options)
        except UntrainedError as error:
            codes = set(re.findall(r": (NAL\d{3}) ", str(error)))
        assert codes == {d.code for d in reports[0].findings if d.finding.severity == "error"}
        return reports[0]

    return by_check(name, by_its_fixture)


def by_script(name: str) -> set[zoo.Expected]:
    with _as_command():
        return zoo.reported(run_script(str(SCRIPT), [name], steps=LONGEST))


def by_module(name: str) -> set[zoo.Expected]:
    """As `-m`, and left in the middle of the training where the loop is the plain one."""
    program = zoo.PROGRAMS[name].make()
    steps = LONGEST if program.has_own_loop else program.steps - 1
    with _as_command():
        return zoo.reported(run_script("zoo_script", [name], steps=steps, is_module=True))


def by_notebook(name: str) -> set[zoo.Expected]:
    with tempfile.TemporaryDirectory() as folder, _as_command():
        path = Path(folder, "training.ipynb")
        path.write_text(notebook(name))
        return zoo.reported(run_script(str(path), [], steps=LONGEST))


def notebook(name: str) -> str:
    """The script as a notebook: a cell for each of its paragraphs, and one with a magic."""
    code = SCRIPT.read_text().replace("sys.argv[1]", repr(name))
    cells = ["%matplotlib inline", *code.split("\n\n")]
    return json.dumps(
        {
            "cells": [
                {
                    "cell_type": "code",
                    "execution_count": None,
                    "id": str(i),
                    "metadata": {},
                    "outputs": [],
                    "source": cell,
                }
                for i, cell in enumerate(cells)
            ],
            "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    )


def by_lightning(name: str) -> set[zoo.Expected]:
    lightning = _needs("lightning")
    from nalu_lint.probe.callbacks.lightning import ProbeCallback

    program = zoo.PROGRAMS[name].make()

    class Task(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = program.build()
            self.automatic_optimization = not program.has_own_loop

        def configure_optimizers(self) -> Any:
            self.made = program.optimizer(self.net)
            return self.made

        def training_step(self, batch: Any, index: int) -> torch.Tensor | None:
            if self.automatic_optimization:
                return program.loss(self.net, batch)
            program.train(program, self.net, self.made)
            return None

    torch.manual_seed(0)
    with construction() as built:
        task = Task()
    callback = ProbeCallback(built=built, is_strict=False)
    n_batches = 1 if program.has_own_loop else program.steps
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[callback],
    )
    with _quiet(), zoo.second_backward_ends():
        trainer.fit(task, DataLoader([program.batch] * n_batches, batch_size=None))
    return {(code, parameter.removeprefix("net.")) for code, parameter in zoo.reported(callback.report)}


def by_transformers(name: str) -> set[zoo.Expected]:
    transformers = _needs("transformers")
    _needs("accelerate")
    from nalu_lint.probe.callbacks.transformers import ProbeCallback

    program = zoo.PROGRAMS[name].make()
    if program.has_own_loop:
        raise CannotRunError("it has a training loop of its own")

    class Trainer(transformers.Trainer):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            return program.loss(model, inputs["batch"])

        def _get_grad_norm(self, *args: Any, **kwargs: Any) -> None:
            """Left out: it spreads a NaN over all gradients, and fails on sparse ones."""

    torch.manual_seed(0)
    callback = ProbeCallback(is_strict=False)
    with tempfile.TemporaryDirectory() as folder, _quiet(), zoo.second_backward_ends():
        with construction() as callback.built:
            model = program.build()
        optimizer = program.optimizer(model)
        arguments = transformers.TrainingArguments(
            folder,
            max_steps=program.steps,
            per_device_train_batch_size=1,
            max_grad_norm=0.0,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        constant = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        Trainer(
            model,
            arguments,
            train_dataset=[program.batch] * program.steps,
            data_collator=lambda rows: {"batch": rows[0]},
            optimizers=(optimizer, constant),
            callbacks=[callback],
        ).train()
    if callback.report is None:
        raise CannotRunError("training fails, and the Trainer does not tell its callbacks")
    return zoo.reported(callback.report)


def by_torchrun(name: str) -> set[zoo.Expected]:
    """One process, in the environment that torchrun makes."""
    if not distributed.is_available():
        raise CannotRunError("this torch has no torch.distributed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    rank = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
    saved = dict(os.environ)
    os.environ.update(rank, MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    try:
        with _as_command():
            return zoo.reported(run_script(str(DISTRIBUTED), [name], steps=LONGEST))
    finally:
        os.environ.clear()
        os.environ.update(saved)
        if distributed.is_initialized():
            distributed.destroy_process_group()


FORMS: dict[str, Callable[[str], set[zoo.Expected]]] = {
    "api": by_api,
    "check": by_check,
    "pytest": by_fixture,
    "script": by_script,
    "module": by_module,
    "notebook": by_notebook,
    "lightning": by_lightning,
    "transformers": by_transformers,
    "torchrun": by_torchrun,
}


def _needs(package: str) -> Any:
    if importlib.util.find_spec(package) is None:
        raise CannotRunError(f"{package} is not installed")
    return importlib.import_module(package)


@contextlib.contextmanager
def _as_command() -> Iterator[None]:
    """In the folder of the scripts."""
    saved = Path.cwd()
    os.chdir(HERE)
    try:
        with _quiet():
            yield
    finally:
        os.chdir(saved)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    nowhere = io.StringIO()
    with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="programs; default: all")
    parser.add_argument("--forms", default=",".join(FORMS), help="default: all, which is %(default)s")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    forms = options.forms.split(",")
    n_right = dict.fromkeys(forms, 0)
    n_wrong = dict.fromkeys(forms, 0)
    for name in options.names or zoo.PROGRAMS:
        for form in forms:
            gc.freeze()  # what is there already is not searched again for each
            try:
                found = FORMS[form](name)
            except CannotRunError:
                continue
            except Exception as error:
                found = {("error", in_one_line(error))}
            finally:
                gc.unfreeze()
            if zoo.agrees(found, zoo.EXPECTED[name]):
                n_right[form] += 1
            else:
                n_wrong[form] += 1
                print(f"{form} {name}: {sorted(found)}, expected {sorted(zoo.EXPECTED[name])}", flush=True)
    print("\n| form | right | wrong | makes no sense |\n|---|---|---|---|")
    n_all = len(options.names or zoo.PROGRAMS)
    for form in forms:
        print(f"| {form} | {n_right[form]} | {n_wrong[form]} | {n_all - n_right[form] - n_wrong[form]} |")


if __name__ == "__main__":
    main()
