"""What may fail while a detector sends: the failure table, and `edge bench chaos`, which draws from it at random."""
