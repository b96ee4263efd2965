"""Smaller networks at equal quality (DRC): budgets, search, selection, surgery, baselines."""
