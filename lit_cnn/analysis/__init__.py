"""What runs say about networks: statistics, comparisons of runs, reports."""
