"""What Lightning lacks, as callbacks."""
