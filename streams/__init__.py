"""The wire: frames in, results out. Knows no model, no physics and no experiment."""
