"""What Lightning lacks: schedules, run folders, progress and dashboards."""
