"""What is kept of the machine that trained or measured."""

from lit_cnn.runs.environment import without_folders


def test_a_command_that_others_read_has_no_folders_of_a_machine():
    typed = ["fit", "-c", "experiments/a.yaml", "--data.data_dir", "/my data", "--runs_dir=/my/runs", "--data_dir", "data"]
    typed += ["--data=/elsewhere/my photos", "--model.weights", "../earlier/best.ckpt", "--model.lr", "0.1"]
    typed += ["--output", "experiments/results/recipes"]
    expected = ["fit", "-c", "experiments/a.yaml", "--data=my photos", "--model.weights", "best.ckpt", "--model.lr", "0.1"]
    assert without_folders(typed) == [*expected, "--output", "experiments/results/recipes"]
