"""Measures what the product promises, on the machine where it will run."""
