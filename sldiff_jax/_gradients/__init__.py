"""How images change when a scene changes: the derivative behind `render`."""
