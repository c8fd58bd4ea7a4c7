"""Training: the LightningModule, optimisers, schedules, metrics, precision, callbacks."""
