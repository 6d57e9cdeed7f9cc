"""A detector on the wire, any protocol, with faults to order and the truth about what was sent."""
