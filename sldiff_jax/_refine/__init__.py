"""Moving poses until the rendering resembles the observation."""
