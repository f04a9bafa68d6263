"""Layers run on ones, at their real size: what the compiled loops of a layer execute is the sum of its result (`cost.execution`).

A job is a layer's sizes, or those of a matrix product (`execution.job`); layers of equal sizes are run once, and threads share them.
"""
from concurrent.futures import ThreadPoolExecutor

from .. import formulas, kernels
from ..cost import execution


def with_padding(job, padded):
    """(job, whether its padding is to be filled): where there is none, both counts are one run."""
    return job, bool(padded and isinstance(job, formulas.Conv2dGeometry) and (job.top or job.bottom or job.left or job.right))


def _size(job):
    return execution.padded_macs(job) if isinstance(job, formulas.Conv2dGeometry) else job[0] * job[1] * job[2]


def run_on_ones(found, progress, paddings=(False, True)):
    """(job, padded) -> multiply-adds executed, for every layer of the cost tables `found`, and each of the `paddings`, once."""
    jobs = {with_padding(job, padded): 0 for s in found for job in map(execution.job, s.rows) if job is not None for padded in paddings}
    todo = sorted(jobs, key=lambda item: -_size(item[0]))
    with ThreadPoolExecutor(kernels.get_num_threads()) as pool:
        for i, (item, executed) in enumerate(zip(todo, pool.map(lambda item: execution.run(*item), todo)), 1):
            jobs[item] = executed
            progress(f"layers run on ones: {i} of {len(todo)}")
    return jobs


def executed_rows(s, jobs, padded=True):
    """(row, multiply-adds executed) of every row of a table that has any. Errors: KeyError for a layer that was not run."""
    rows = [(row, execution.job(row)) for row in s.rows if row.macs]
    return [(row, jobs[with_padding(job, padded)]) for row, job in rows]
