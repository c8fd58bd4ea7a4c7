"""Which settings of a run may change when it is resumed."""

from __future__ import annotations

import inspect

import pytest
from pytorch_lightning import Trainer

from lit_cnn import data
from lit_cnn.commands.options import COMMAND_OPTIONS
from lit_cnn.data import ImageDataModule
from lit_cnn.models import ARCHITECTURES
from lit_cnn.runs.identity import RULES, Rule, digest_of_settings, find_changes, rule_of
from lit_cnn.training.classifier import LitClassifier
from lit_cnn.training.precision import AutoTrainer

DATASETS = [cls for cls in vars(data).values() if inspect.isclass(cls) and issubclass(cls, ImageDataModule)]
# Not settings, but groups of settings, and what ends the command.
OTHER_OPTIONS = {"c", "data", "h", "help", "model", "print_config", "trainer"}


assert len(DATASETS) > 5


def arguments(*classes: type) -> set[str]:
    """Of the classes and all that they inherit from."""
    signatures = [inspect.signature(base.__init__) for cls in classes for base in cls.__mro__ if "__init__" in vars(base)]
    named = [
        p
        for signature in signatures
        for p in signature.parameters.values()
        if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]
    return {parameter.name for parameter in named} - {"self", "args", "kwargs", "network"}


@pytest.mark.parametrize(
    ("group", "classes"),
    [
        ("model", [LitClassifier, *ARCHITECTURES.values()]),
        ("data", DATASETS),
        ("trainer", [AutoTrainer, Trainer]),
    ],
)
def test_every_argument_has_a_rule(group: str, classes: list[type]):
    missing = {f"{group}.{name}" for name in arguments(*classes)} - RULES.keys()
    assert not missing, "add these to lit_cnn/runs/identity.py"


def test_every_option_of_the_command_has_a_rule():
    assert set(COMMAND_OPTIONS) - OTHER_OPTIONS <= RULES.keys()


def test_an_unknown_setting_must_be_equal():
    assert rule_of("model.of_the_future") is Rule.EQUAL


def settings(**changed: object) -> dict:
    own = {
        "seed_everything": 0,
        "trainer": {"max_epochs": 3, "devices": 1, "callbacks": None},
        "model": {"class_path": "lit_cnn.LitLeNet", "init_args": {"lr": 0.1, "optimizer_args": {"momentum": 0.9}}},
        "data": {"class_path": "lit_cnn.Digits", "init_args": {"batch_size": 32, "data_dir": None}},
    }
    for name, value in changed.items():
        group, _, setting = name.partition("__")
        if not setting:
            own[group] = value
        else:
            own[group].get("init_args", own[group])[setting] = value
    return own


@pytest.mark.parametrize(
    ("changed", "setting", "rule"),
    [
        ({"model__lr": 0.2}, "model.lr", Rule.EQUAL),
        ({"model__optimizer_args": {"momentum": 0.5}}, "model.optimizer_args", Rule.EQUAL),
        ({"model__other": 1}, "model.other", Rule.EQUAL),
        ({"model": {"class_path": "lit_cnn.LitMLP", "init_args": settings()["model"]["init_args"]}}, "model", Rule.EQUAL),
        ({"data__batch_size": 64}, "data.batch_size", Rule.EQUAL),
        ({"data__data_dir": "elsewhere"}, "data.data_dir", Rule.FREE),
        ({"trainer__devices": 2}, "trainer.devices", Rule.FREE),
        ({"trainer__max_epochs": 4}, "trainer.max_epochs", Rule.LENGTH),
        ({"trainer__max_time": "00:00:05:00"}, "trainer.max_time", Rule.TIME),
        ({"seed_everything": 1}, "seed_everything", Rule.EQUAL),
        ({"trainer__callbacks": [{"class_path": "a.LearningRateMonitor"}]}, "trainer.callbacks", Rule.FREE),
        ({"trainer__callbacks": [{"class_path": "a.EMAWeightAveraging"}]}, "trainer.callbacks", Rule.EQUAL),
        ({"ema": 0.9}, "ema", Rule.EQUAL),
        ({"monitor": "last"}, "monitor", Rule.EQUAL),
        ({"early_stopping": 3}, "early_stopping", Rule.EQUAL),
    ],
    ids=str,
)
def test_a_change_is_found_with_its_rule(changed: dict, setting: str, rule: Rule):
    (change,) = find_changes(settings(), settings(**changed))
    assert (change.setting, change.rule) == (setting, rule)


def test_one_batch_is_not_all_of_them():
    (change,) = find_changes(settings(trainer__val_check_interval=1.0), settings(trainer__val_check_interval=1))
    assert (change.setting, change.rule) == ("trainer.val_check_interval", Rule.EQUAL)
    assert not find_changes(settings(trainer__val_check_interval=1.0), settings(trainer__val_check_interval=None))
    assert not find_changes(settings(model__lr=1), settings(model__lr=1.0))


def test_an_older_run_was_judged_by_accuracy():
    assert find_changes(settings(), settings(monitor="val/acc")) == []


def test_a_class_may_be_named_by_another_module():
    model = settings()["model"] | {"class_path": "lit_cnn.models.lenet.LitLeNet"}
    assert find_changes(settings(), settings(model=model)) == []


def test_settings_that_give_other_runs_have_another_digest():
    def digest(**changed: object) -> str:
        return digest_of_settings(settings(**changed), without="seed_everything")

    same = [{"seed_everything": 7}, {"trainer__devices": 2}, {"data__data_dir": "/elsewhere"}]
    same += [{"trainer__callbacks": [{"class_path": "pytorch_lightning.callbacks.Timer"}]}]
    same += [{"ema": None}, {"early_stopping": None}, {"monitor": "val/acc"}]  # which older runs do not have
    same += [{"trainer__max_time": None}]
    assert {digest(), *(digest(**changed) for changed in same)} == {digest()}
    assert len(digest()) == 8
    other = [{"model__lr": 0.2}, {"trainer__max_epochs": 4}, {"data__batch_size": 16}]
    other += [{"trainer__callbacks": [{"class_path": "pytorch_lightning.callbacks.EarlyStopping"}]}]
    other += [{"ema": 0.9}, {"monitor": "last"}]
    other += [{"trainer__max_time": "00:00:05:00"}, {"trainer__max_time": "00:01:00:00"}]
    assert len({digest(), *(digest(**changed) for changed in other)}) == 9
