"""That the scripts of experiments/results add to their results only what was measured in the same way."""

import json
from pathlib import Path

import pytest
from conftest import load_script

COMMIT = "5c6a729b5c80e3e7f437d5a093debbc9f35cafb8"
SETTINGS = {"commit": COMMIT, "rates": [0.01, 0.05], "batch_size": 64, "least_steps": 300, "least_epochs": 2}
FINE_TUNING = ["--model", "lenet", "--weights", "MNIST", "--data", "digits"]


def refusal(script: str, words: list[str], run: dict, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> str:
    """What a script says that has a run in its file of results already."""
    module = load_script(script)
    monkeypatch.setattr(module, "measured_commit", lambda: COMMIT)
    output = folder / "results.json"
    output.write_text(json.dumps({"runs": [run]}))
    monkeypatch.setattr("sys.argv", [script, *words, "--output", str(output)])
    with pytest.raises(SystemExit):
        module.main()
    assert json.loads(output.read_text()) == {"runs": [run]}
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"commit": "0" * 40}, f"has commit {'0' * 40}, this is {COMMIT}: name another --output"),
        ({"rates": [0.1]}, "has rates [0.1], this is [0.01, 0.05]: name another --output"),
        ({"least_epochs": 3}, "has least_epochs 3, this is 2: name another --output"),
    ],
    ids=str,
)
def test_fine_tunings_of_another_kind_are_not_mixed_in(changed: dict, message: str, tmp_path: Path, monkeypatch, capsys):
    assert message in refusal("fine_tuning", FINE_TUNING, SETTINGS | changed, tmp_path, monkeypatch, capsys)


def test_rules_of_another_commit_are_not_mixed_in(tmp_path: Path, monkeypatch, capsys):
    run = {"recipe": "lenet", "seed": 0, "commit": "0" * 40}
    message = f"was measured with commit {'0' * 40}, this is {COMMIT}: name another --output"
    assert message in refusal("checkpoint_rule", [], run, tmp_path, monkeypatch, capsys)
