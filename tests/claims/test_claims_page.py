"""The page of claims, and the figure of a claim."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Command
from fake_results import EXACT, STUDY, fake_value, fill, write_claim
from html_pages import check_page

from lit_cnn.claims.page import write_claims
from lit_cnn.claims.plots import figure_of
from lit_cnn.claims.results import Results
from lit_cnn.claims.tables import describe_table, tabulate_arms
from lit_cnn.claims.titles import title_of


@pytest.fixture
def study(tmp_path: Path) -> Results:
    return fill(write_claim(tmp_path, STUDY), fake_value)


@pytest.fixture
def exact(tmp_path: Path) -> Results:
    results = write_claim(tmp_path, EXACT)
    results.facts = [{"text": "1 < 2 & 3", "holds": True}, {"text": "2 < 1", "holds": False}]
    results.verdict = results.decide().value
    return results


def test_the_page_has_a_row_and_a_section_for_each_claim(study: Results, exact: Results):
    text = write_claims([study, exact])
    page = check_page(text)
    assert [value for name, value in page.attributes if name == "id"][:1] == ["verdicts"]
    assert {"#claim-14", "#claim-20"} <= {value for name, value in page.attributes if name == "href"}
    assert page.text.count("Normalised networks learn faster.") == 2
    assert page.text.count("A <b>bottleneck</b> has fewer parameters.") == 2
    assert "Statements about convolutional networks: 1 supported, 1 refuted" in page.text
    assert '<strong class="verdict supported">supported</strong>' in text
    assert '<strong class="verdict refuted">refuted</strong>' in text
    assert "holds: 1 < 2 & 3" in page.text
    assert "does not hold: 2 < 1" in page.text
    assert len(text.encode()) < 100_000


def test_a_claim_has_questions_arms_figure_and_provenance(study: Results):
    text = write_claims([study])
    page = check_page(text)
    assert 'id="verdicts"' not in text
    assert "It takes fewer steps: supported (ratio " in page.text
    assert "It is better (does not decide): " in page.text
    assert page.tags.count("svg") == 1
    assert "steps to 20 % training error" in page.text
    assert "Ioffe and Szegedy 2015, Table 2." in page.text
    assert "bn: its rate 0.01 is the lowest of the grid; a lower one may be better." in page.text
    assert "digits at 28×28, 60 training and 360 test images, 1 epoch, 3 seeds" in page.text
    # The file, when it was first used, and what the trainings took: 4 of the search and 6 of the study.
    assert f"digest of the file {study.claim.digest}" in page.text
    assert "since the first run not changed" in page.text
    assert "trained on 2 × Fake CPU (AVX2), torch 2.11, commit c0ffee" in page.text
    assert "trainings 10" in page.text
    assert "time planned 1 min, used 0.25 min of one thread" in page.text
    assert "95 % intervals over seeds, for these training and test images" in page.text


def test_a_changed_file_notes_and_diverged_trainings_are_told(study: Results, tmp_path: Path):
    changed = write_claim(tmp_path, STUDY | {"budget_minutes": 2, "notes": "The reason is <not> known."})
    changed.digests, changed.cells, changed.verdict = study.digests, study.cells, study.verdict
    next(iter(changed.cells.values()))["diverged"] = True
    page = check_page(write_claims([changed]))
    assert "The file of this claim was changed after its first run." in page.text
    assert "not yet run (its file was changed)" in page.text
    assert f"changed; its digest was {study.claim.digest}" in page.text
    assert "The reason is <not> known." in page.text
    assert "trainings 10, of which 1 diverged" in page.text


def test_a_claim_that_was_not_run_names_the_command(tmp_path: Path):
    results = write_claim(tmp_path, STUDY)
    text = write_claims([results])
    page = check_page(text)
    assert '<strong class="verdict open">not yet run</strong>' in text
    assert "lit-cnn claims run 14" in page.text
    assert "svg" not in page.tags
    assert figure_of(results) is None


def test_the_figure_shows_each_measure_by_arm_and_the_curves(study: Results):
    figure = figure_of(study)
    steps, accuracy, curves = figure.axes
    assert (steps.get_xlabel(), accuracy.get_xlabel()) == ("steps to 20 % training error", "test accuracy in %")
    assert [label.get_text() for label in steps.get_yticklabels()] == ["plain", "bn"]
    values = [sorted(line.get_xdata()) for line in steps.lines if len(line.get_xdata()) == 3]
    assert values == [pytest.approx([99.99, 105.99, 111.99]), pytest.approx([49.99, 52.99, 55.99])]
    assert (curves.get_xlabel(), len(curves.collections)) == ("step", 2)
    assert curves.lines[0].get_ydata().tolist() == pytest.approx([2.4, 1.2, 0.6])


def test_an_exact_claim_has_no_figure(exact: Results):
    assert figure_of(exact) is None


def test_before_the_rates_are_known_nothing_is_drawn(study: Results):
    study.cells = {key: cell for key, cell in study.cells.items() if cell["purpose"] == "tune" and cell["rate"] == 0.1}
    assert figure_of(study) is None
    assert "trainings are missing; resume with: lit-cnn claims run 14" in check_page(write_claims([study])).text


def test_sizes_of_networks_are_drawn_too(tmp_path: Path):
    question = {"text": "It is larger", "measure": "parameters", "contrast": {"bn": 1, "plain": -1}, "expect": "above"}
    results = fill(write_claim(tmp_path, STUDY | {"questions": [question | {"threshold": 1, "scale": "log"}]}), fake_value)
    results.arms = {"plain": {"parameters": 1000}, "bn": {"parameters": 250_000}}
    axes = figure_of(results).axes[0]
    assert (axes.get_xlabel(), axes.get_xscale()) == ("parameters", "log")


def test_arms_have_a_table_with_their_rates(study: Results):
    table = tabulate_arms(study)
    assert table.columns[:3] == ("arm", "settings", "rate")
    assert [row[:3] for row in table.rows] == [("plain", "-", "0.01"), ("bn", "model.norm=batch", "0.01")]


def test_columns_whose_names_are_short_are_told_in_words(tmp_path: Path):
    measures = {
        "test_accuracy": {"measure": "accuracy", "split": "test"},
        "steps": {"measure": "steps_to_error", "error": 0.2},
    }
    results = fill(write_claim(tmp_path, STUDY | {"measures": STUDY["measures"] | measures}), fake_value)
    assert describe_table(results)[0] == "test_accuracy: test accuracy in %; steps: steps to 20 % training error"


def test_pages_are_written_beside_what_is_printed(study: Results, exact: Results, lit_cnn: Command):
    study.write()
    exact.write()
    options = ["--experiments", str(study.path.parents[2])]
    for words, name in ((["claims"], "all.html"), (["claims", "show", "14"], "one.html")):
        printed = lit_cnn(*words, *options).stdout
        done = lit_cnn(*words, *options, "--output", name)
        assert (done.returncode, done.stderr, done.stdout) == (0, "", f"{printed}\n{name}\n")
    assert 'id="claim-20"' in Path("all.html").read_text(encoding="utf-8")
    assert 'id="claim-20"' not in Path("one.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("words", [["claims"], ["claims", "show", "20"]])
@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("page.txt", "--output page.txt is no name of a page: name a file that ends with .html"),
        ("none/page.html", "there is no folder for the output none/page.html"),
    ],
)
def test_a_page_that_cannot_be_written_is_refused_at_once(
    exact: Results, lit_cnn: Command, words: list[str], output: str, message: str
):
    done = lit_cnn(*words, "--experiments", str(exact.path.parents[2]), "--output", output)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("measure", "title"),
    [
        ({"measure": "accuracy", "split": "train"}, "train accuracy in %"),
        ({"measure": "accuracy_lost_by_shifts", "pixels": 4}, "points lost by shifts of 4 pixels"),
        ({"measure": "accuracy_lost_by_shifts"}, "points lost by shifts of 4 pixels"),
        ({"measure": "loss"}, "train loss"),
        ({"measure": "something_new"}, "my name"),
    ],
)
def test_a_measure_has_a_title(measure: dict, title: str):
    assert title_of("my_name", measure) == title
