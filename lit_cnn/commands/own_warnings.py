"""What Lightning warns of because of ``fit`` itself."""

from __future__ import annotations

import re
from typing import Any

from lit_cnn.commands.messages import ignore_warnings
from lit_cnn.commands.resumed import ResumedRun
from lit_cnn.runs.folder import Run


def ignore_own_warnings(config: Any, run: Run | None, resumed: ResumedRun | None) -> None:
    """Silences what Lightning warns of because of the command, not because of what the user gave.

    Args:
        config: Settings of ``fit``.
        run: The folder of the training.
        resumed: The run that is resumed.
    """
    if config.trainer.log_every_n_steps is None:
        # The metrics of an epoch are logged all the same.
        ignore_warnings(
            r"The number of training batches \(\d+\) is smaller than the logging interval Trainer\(log_every_n_steps="
        )
    if config.run and run:
        folders = "|".join(re.escape(str(path)) for path in (run.checkpoints, run.checkpoints.resolve()))
        ignore_warnings(rf"Checkpoint directory ({folders}) exists and is not empty")
    if resumed and resumed.lifts_time_limit:  # Lightning keeps the limit in a callback
        ignore_warnings(
            r"Be aware that when using `ckpt_path`, callbacks used to create the checkpoint need to be provided during "
            r"`Trainer` instantiation\. Please add the following callbacks: \['Timer'\]\.$"
        )
