"""What several subcommands let choose by name."""

from __future__ import annotations

LEAST_SQUARES = ("lm", "gn")

# Of optax, with the learning rate at which the first stage begins: radians (or visible diameters of the object) per
# step; for sgd, which steps in proportion to the loss, tuned on the losses of both commands.
DESCENTS = {
    "adam": 0.02,
    "adabelief": 0.02,
    "amsgrad": 0.02,
    "nadam": 0.02,
    "rmsprop": 0.005,
    "sgd": 0.025,
    "yogi": 0.05,
}

OPTIMIZERS = (*LEAST_SQUARES, *DESCENTS)
OPTIMIZERS_HELP = f"{', '.join(OPTIMIZERS)}; default: lm, Levenberg-Marquardt"
STEPS_HELP = "at most, all stages together; default: 50 for lm and gn, else 150"
