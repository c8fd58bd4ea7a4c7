"""Files of claims: those of this project, and what is wrong with others."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from claim_files import CONTENT, QUESTION, claim_content, write_claim
from conftest import ROOT

from lit_cnn.claims.design import shorten
from lit_cnn.claims.exact import CHECKS
from lit_cnn.claims.measured import check_measures
from lit_cnn.claims.study import CLAIMS, find_claim, find_experiments, read_claim, read_claims
from lit_cnn.claims.training import make_model, trainer_settings
from lit_cnn.data import FakeImages

CLAIM_FILES = sorted((ROOT / "experiments" / CLAIMS).glob("*.yaml"))
# Sizes of the images that the claims read from files.
SHAPES = {"ImageFolder": (3, 32), "FashionMNIST": (1, 28), "MNIST": (1, 28)}


def claim(**changes: object) -> str:
    return yaml.safe_dump(claim_content(**changes))


def changed(key: str, **changes: object) -> dict[str, object]:
    return {key: CONTENT[key] | changes}


def question(**changes: object) -> dict[str, object]:
    return {"questions": [QUESTION | changes]}


# The claims of this project


def test_there_are_29_claims():
    claims = read_claims(ROOT / "experiments")
    assert [claim.number for claim in claims] == list(range(1, 30))
    assert {claim.number for claim in claims if claim.study is None} < set(CHECKS)


@pytest.mark.parametrize("path", CLAIM_FILES, ids=lambda path: path.stem)
def test_a_claim_is_valid_and_its_arms_can_be_made(path: Path):
    claim = read_claim(path)
    assert path.name.startswith(f"{claim.number:02}_")
    assert claim.statement
    assert claim.evidence
    if claim.study is None:
        return
    study = claim.study
    check_measures(study)
    for arm in study.arms:
        settings = study.settings(arm, study.tuning.rates[0])
        channels, size = SHAPES[settings["data"]["class_path"]]
        arguments = {key: value for key, value in settings["data"]["init_args"].items() if key != "data_dir"}
        data = FakeImages(**arguments | {"channels": channels, "native_size": size, "image_size": size})
        network = make_model(settings, data, seed=0)
        assert network.hparams.lr == study.tuning.rates[0]
        trainer_settings(settings)


@pytest.mark.parametrize("path", CLAIM_FILES, ids=lambda path: path.stem)
def test_a_study_has_enough_seeds_and_rates(path: Path):
    study = read_claim(path).study
    if study is None:
        return
    assert len(study.seeds) >= 5
    assert len(study.tuning.rates) >= 3


# Reading


def test_a_claim_is_read(tmp_path: Path):
    claim = write_claim(tmp_path, notes="It was so.")
    assert (claim.number, claim.statement, claim.title) == (1, "BatchNorm helps.", "Batch norm helps")
    assert claim.notes == "It was so."
    assert find_claim(tmp_path, 1) == claim
    assert find_experiments(tmp_path) == tmp_path


def test_settings_of_an_arm_are_the_recipe_with_its_changes(tmp_path: Path):
    arms = {"plain": {}, "batch": {"model.norm": "batch", "data.flip": True, "trainer.max_epochs": 3}}
    study = write_claim(tmp_path, arms=arms).study
    assert study is not None
    plain, batch = (study.settings(arm, 0.2) for arm in arms)
    assert plain["model"]["init_args"] == CONTENT["recipe"]["model"]["init_args"] | {"lr": 0.2}
    assert batch["model"]["init_args"] == plain["model"]["init_args"] | {"norm": "batch"}
    assert batch["data"]["init_args"] == {"batch_size": 20, "flip": True}
    assert (plain["trainer"], batch["trainer"]) == ({"max_epochs": 1}, {"max_epochs": 3})
    assert (plain["train_images"], plain["val_images"], plain["test_images"]) == (60, 40, 40)


def test_a_short_study_has_one_rate_one_seed_and_one_epoch(tmp_path: Path):
    arms = {"plain": {}, "batch": {"model.norm": "batch", "trainer.max_epochs": 30}}
    study = write_claim(tmp_path, arms=arms, train_images=None, val_images=5000, stop_at_loss=0.1).study
    assert study is not None
    short = shorten(study)
    assert (short.tuning.rates, short.seeds, short.stop_at_loss) == ([0.01], [0], None)
    assert (short.train_images, short.val_images, short.test_images) == (500, 100, 40)
    assert [short.settings(arm, 0.1)["trainer"]["max_epochs"] for arm in arms] == [1, 1]


def test_notes_do_not_change_the_digest_but_everything_else_does(tmp_path: Path):
    digest = write_claim(tmp_path).digest
    assert write_claim(tmp_path, notes="It was so.").digest == digest
    assert write_claim(tmp_path, statement="BatchNorm harms.").digest != digest
    assert write_claim(tmp_path, **question(threshold=1)).digest != digest


# Bad files


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "while parsing a flow node"),
        ("- 1", "expected keys and values"),
        ("", "expected keys and values"),
        (claim(number=None), "the key number is missing"),
        (claim(number="one"), "number must be a whole number, got 'one'"),
        (claim(statement=None), "the key statement is missing"),
        (claim(measures=None), "the key measures is missing"),
        (claim(seed=[1]), "unknown key seed"),
        (claim(**question(treshold=1)), "questions, 1: unknown key treshold"),
        (claim(questions=[{"text": "?"}]), "questions, 1: the key measure is missing"),
        (claim(**question(contrast={"bath": 1})), "BatchNorm is better: there is no arm bath"),
        (claim(**question(contrast={})), "BatchNorm is better: contrast must give a weight to each arm, got {}"),
        (claim(**question(measure="accuracy")), "BatchNorm is better: there is no measure accuracy"),
        (claim(**question(expect="more")), "expect must be above, below or within, scale linear or log"),
        (claim(**question(scale="ln")), "expect must be above, below or within, scale linear or log"),
        (claim(**question(margin=-1)), "a margin is at least 0, a ratio above 0"),
        (claim(**question(threshold=0, scale="log")), "a margin is at least 0, a ratio above 0"),
        (claim(**question(threshold=1, scale="log", expect="within")), "with log, a ratio above 1"),
        (claim(**question(threshold="1e-3")), "threshold and margin must be numbers"),
        (claim(**question(decides=False)), "questions: expected at least one that decides"),
        (claim(**changed("tuning", rates=[])), "tuning.rates: expected different numbers above 0, got []"),
        (claim(**changed("tuning", rates=["1e-3"])), "tuning.rates: expected different numbers above 0, got ['1e-3']"),
        (claim(**changed("tuning", rates=[0.1, 0.1])), "tuning.rates: expected different numbers above 0"),
        (claim(**changed("tuning", seeds=[])), "tuning.seeds: expected different whole numbers of at least 0, got []"),
        (claim(**changed("tuning", seeds=[1])), "the seed 1 tunes the rate and is used in the study"),
        (claim(**changed("tuning", seed=[1])), "tuning: unknown key seed"),
        (claim(**changed("tuning", measure="test_accuracy")), "tuning: test_accuracy must not look at test images"),
        (claim(**changed("tuning", measure="loss")), "tuning: there is no measure loss"),
        (claim(seeds=[0, 0]), "seeds: expected different whole numbers of at least 0, got [0, 0]"),
        (claim(seeds=["a"]), "seeds: expected different whole numbers of at least 0, got ['a']"),
        (claim(arms=["plain"]), "arms: expected keys and values, got ['plain']"),
        (
            claim(arms={"plain": {"modle.norm": "batch"}}),
            "arms.plain: expected a setting such as model.norm, got modle.norm",
        ),
        (claim(arms={"plain": {"norm": "batch"}}), "arms.plain: expected a setting such as model.norm, got norm"),
        (claim(arms={"plain": {"model.lr": 1}}), "arms.plain: model.lr cannot be set, because tuning.rates decides on it"),
        (claim(recipe={"net": {}}), "recipe: unknown key net; there are model, data and trainer"),
        (claim(recipe={}), "recipe.data: the key class_path is missing"),
        (claim(measures={"a": {}}), "measures.a: the key measure is missing"),
        (
            claim(stop_at_loss=0.1, measures={"steps": {"measure": "steps_to_error", "error": 0.5}}),
            "measures.steps: stop_at_loss may end a training before these steps: leave one of them out",
        ),
        (claim(train_images=0), "train_images must be a whole number of at least 1, got 0"),
        (claim(val_images="many"), "val_images must be a whole number of at least 1, got 'many'"),
        (claim(budget_minutes="long"), "could not convert string to float: 'long'"),
    ],
)
def test_a_damaged_file_is_told_in_one_line(tmp_path: Path, text: str, message: str):
    path = tmp_path / CLAIMS / "01_wrong.yaml"
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"01_wrong\.yaml is no claim: ") as raised:
        read_claims(tmp_path)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_text_that_is_not_utf8_is_told(tmp_path: Path):
    (tmp_path / CLAIMS).mkdir()
    (tmp_path / CLAIMS / "01_wrong.yaml").write_bytes(b"number: \xff")
    with pytest.raises(ValueError, match=r"01_wrong\.yaml is no claim: 'utf-8' codec"):
        read_claims(tmp_path)


def test_two_claims_of_one_number_are_told(tmp_path: Path):
    for name in ("01_one", "01_other"):
        write_claim(tmp_path, name)
    with pytest.raises(ValueError, match=r"01_one\.yaml: another file has the number 1 too"):
        read_claims(tmp_path)


def test_an_unknown_number_names_those_that_there_are(tmp_path: Path):
    write_claim(tmp_path)
    with pytest.raises(ValueError, match="there is no claim 7; lit-cnn claims lists those from 1 to 1"):
        find_claim(tmp_path, 7)


def test_a_folder_without_claims_is_told(tmp_path: Path):
    message = r"there are no claims in .*: change to the folder of lit_cnn, or name --experiments"
    with pytest.raises(ValueError, match=message):
        find_experiments(tmp_path)
    (tmp_path / CLAIMS).mkdir()
    with pytest.raises(ValueError, match=message):
        find_experiments(tmp_path)


def test_a_claim_without_arms_is_exact(tmp_path: Path):
    (tmp_path / CLAIMS).mkdir()
    path = tmp_path / CLAIMS / "28_initialisation.yaml"
    path.write_text("{number: 28, statement: It draws., evidence: The chapter.}", encoding="utf-8")
    claim = read_claim(path)
    assert (claim.number, claim.statement, claim.study) == (28, "It draws.", None)
