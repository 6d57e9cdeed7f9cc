"""One PUSH stream over several processes of a machine: who takes its frames, and who keeps the one ledger of them."""
