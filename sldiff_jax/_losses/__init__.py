"""How far a rendering is from an observation."""
