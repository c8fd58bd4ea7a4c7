"""The command line's parser: LightningCLI's, with one line for an error."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from pytorch_lightning.cli import LightningArgumentParser

from lit_cnn.commands.messages import DEBUG, explain


class Parser(LightningArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if ex is not None and os.environ.get(DEBUG):
            raise ex
        print(f"lit-cnn: error: {explain(message)}", file=sys.stderr)
        sys.exit(2)
