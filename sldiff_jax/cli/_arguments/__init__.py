"""What the subcommands take, apart from what they do: reading a command line imports neither JAX nor NumPy."""
