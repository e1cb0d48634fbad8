"""What ``sldiff-jax bop`` takes: its jobs."""

from __future__ import annotations

import argparse

from . import bop_evaluate, bop_make, bop_refine, bop_show
from .subcommands import add_subcommands

SUMMARY = "whole data sets in BOP's layout: make one up, refine estimated poses, score and draw them"
DESCRIPTION = """\
Works on data sets in the layout of the BOP challenge, and on its files of estimated poses.
"""
JOBS = {"make": bop_make, "refine": bop_refine, "evaluate": bop_evaluate, "show": bop_show}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the jobs."""
    add_subcommands(parser, "jobs", "JOB", JOBS)
