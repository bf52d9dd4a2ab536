"""Network definitions: linen modules, parameters only."""
