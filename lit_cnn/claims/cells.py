"""Cells of a study: what is trained once."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from lit_cnn.claims.design import Study

TUNE, STUDY = "tune", "study"


@dataclass(frozen=True)
class Cell:
    """What is trained once.

    Args:
        arm: Name of the arm.
        rate: Learning rate.
        seed: Of everything.
        purpose: ``tune`` chooses the rate, ``study`` decides.
    """

    arm: str
    rate: float
    seed: int
    purpose: str

    def key(self, study: Study) -> str:
        """Digest of all that the cell's values depend on: a study whose file changed keeps the cells that did not."""
        measures = study.measures if self.purpose == STUDY else {study.tuning.measure: study.measures[study.tuning.measure]}
        content = [study.settings(self.arm, self.rate), self.seed, self.purpose, measures]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
