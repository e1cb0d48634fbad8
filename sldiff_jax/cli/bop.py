"""``sldiff-jax bop``: whole data sets in BOP's layout."""

from __future__ import annotations

import argparse

from . import _bop_evaluate, _bop_make, _bop_refine, _bop_show

SUMMARY = "whole data sets in BOP's layout: make one up, refine estimated poses, score and draw them"
DESCRIPTION = """\
Works on data sets in the layout of the BOP challenge, and on its files of estimated poses.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the jobs."""
    jobs = parser.add_subparsers(title="jobs", required=True, metavar="JOB")
    for job in (_bop_make, _bop_refine, _bop_evaluate, _bop_show):
        subparser = jobs.add_parser(
            job.__name__.rpartition("_")[2],
            help=job.SUMMARY,
            description=job.DESCRIPTION,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        job.add_arguments(subparser)
        subparser.set_defaults(job=job.run, words=[])


def run(options: argparse.Namespace) -> int:
    """Runs the chosen job."""
    return options.job(options)
