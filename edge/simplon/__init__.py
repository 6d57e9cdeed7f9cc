"""The control unit of a SIMPLON detector, asked by GET alone: what it is, what it dropped."""
