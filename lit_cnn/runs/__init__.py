"""What a training leaves behind: folders of runs and checkpoint files."""
