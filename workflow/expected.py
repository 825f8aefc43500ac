"""What a run is expected to take on a cluster, rule by rule: `python workflow/expected.py --config preset=paper gpu=1`.

Hours are without the margin that jobs ask for (workflow/resources.yaml). What jobs that have run took, their benchmarks say.
"""

import argparse
from pathlib import Path

import pandas as pd
import yaml
from snakemake.api import SnakemakeApi
from snakemake.settings.types import (
    ConfigSettings,
    DAGSettings,
    OutputSettings,
    Quietness,
    ResourceSettings,
    StorageSettings,
    WorkflowSettings,
)
from snakemake_interface_executor_plugins.settings import ExecMode

SNAKEFILE = Path(__file__).resolve().parent / "Snakefile"


def jobs_of(config: dict, configfiles: list[Path]) -> tuple[list, dict]:
    """All jobs of a run, whether they have run or not, as a scheduler sees them; and the names in the Snakefile."""
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        made = api.workflow(
            ResourceSettings(),
            config_settings=ConfigSettings(config=config, configfiles=configfiles),
            storage_settings=StorageSettings(),
            workflow_settings=WorkflowSettings(exec_mode=ExecMode.REMOTE),
            snakefile=SNAKEFILE,
        )
        made.dag(DAGSettings(forceall=True))
        workflow = made._workflow
        workflow._prepare_dag(forceall=True, ignore_incomplete=True, lock_warn_only=True)
        workflow._build_dag()
        return list(workflow.dag.jobs), workflow.globals


def expected(jobs: list, names: dict) -> pd.DataFrame:
    """One row per rule: jobs, what each asks for and takes at most, and hours of all; peaks and times of those that have run."""
    rows = []
    for job in jobs:
        known = names["JOBS"].get(job.rule.name)
        if job.rule.norun:
            continue
        local, gpu = known is None or known.local, int(job.resources.get("gres") is not None)
        take = names["EXPECTED"].take("" if local else job.rule.name, dict(job.wildcards_dict))
        hours = names["EXPECTED"].seconds(take, job.threads, gpu) / 3600
        row = {"rule": "on the login node" if local else job.rule.name, "jobs": 1, "threads": job.threads}
        row |= {"mem_mb": job.resources.get("mem_mb"), "minutes": job.resources.get("runtime"), "hours": hours}
        row |= {"core-hours": hours * job.threads, "GPU-hours": hours * gpu}
        if job.benchmark and Path(job.benchmark).exists():
            took = pd.read_csv(job.benchmark, sep="\t")
            row |= {"took, s": took.s.max(), "peak, MB": pd.to_numeric(took.max_rss, errors="coerce").max()}
        rows.append(row)
    table, summed = pd.DataFrame(rows), ("jobs", "core-hours", "GPU-hours")
    how = {name: "sum" if name in summed else "max" for name in table.columns[1:]}
    found = table.groupby("rule", sort=False).agg(how).reset_index().sort_values("core-hours", ascending=False)
    total = {name: found[name].sum() for name in summed}
    return pd.concat([found, pd.DataFrame([{"rule": "total"} | total])], ignore_index=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--configfile", nargs="*", default=[], type=Path)
    given = parser.parse_args()
    config = {key: yaml.safe_load(value) for key, _, value in (each.partition("=") for each in given.config)}
    table = expected(*jobs_of(config, given.configfile)).round(2).convert_dtypes()
    print(table.astype(object).where(table.notna(), "").to_markdown(index=False))
