# What jobs ask for: threads and a GPU on one machine, and of a scheduler memory and time too.
from multilevel_diffusion.bench.jobs import Costs, Jobs
from multilevel_diffusion.settings import read_yaml

COSTS = Costs.model_validate(read_yaml((BASE / "workflow/resources.yaml").read_text(), "workflow/resources.yaml"))
EXPECTED = Jobs(COSTS, CONFIG)
CORES = workflow.resource_settings.cores or 1  # `workflow.cores` raises an error where --cores is not given
if CONFIG.gpu == 0:
    os.environ.update(CUDA_VISIBLE_DEVICES="")


def on_cluster():
    """Whether jobs run elsewhere, by leave of a scheduler: what this machine has says nothing then."""
    return workflow.remote_exec or not (workflow.local_exec or workflow.dryrun)


def by_slurm():
    """Whether Slurm gives jobs their GPU, which `--gres` asks for on any version and `--gpus` on some; in a job it is given."""
    return workflow.remote_exec or getattr(workflow.executor_plugin, "cli_prefix", "") == "slurm"


def at_most(threads):
    """Threads of a job that can do with so many."""
    return min(max(threads, 1), CONFIG.max_threads or max(threads, 1))


def share_of_cores(wildcards):
    """Threads for each of the long jobs of an experiment, which may run side by side."""
    return at_most(COSTS.threads if on_cluster() else CORES // len(EXPERIMENTS[wildcards.experiment].runs))


def all_cores(wildcards):
    """Threads of a job beside which nothing long runs."""
    return at_most(COSTS.threads if on_cluster() else CORES)


def threads_of_training(wildcards):
    """Paired arms are compared by the time they take: nothing runs beside them, if `max_threads` leaves them all cores."""
    return all_cores(wildcards) if EXPERIMENTS[wildcards.experiment].paired else share_of_cores(wildcards)


def gpus(job):
    """How many GPUs a job is to have."""
    if CONFIG.gpu != "auto":
        return job.gpu and CONFIG.gpu
    return job.gpu and int(not on_cluster() and shutil.which("nvidia-smi") is not None)


def asks(rule, job):
    """The resources of a rule; memory and time double whenever a job is tried again."""
    stage = "" if job.local else rule

    def of(which):
        def ask(wildcards, attempt, threads):
            return 2 ** (attempt - 1) * EXPECTED.asked(stage, dict(wildcards.items()), threads, gpus(job))[which]

        return ask

    return {
        "mem_mb": of(0),
        "runtime": of(1),
        "gpu": lambda wildcards: 0 if by_slurm() else gpus(job),
        "gres": lambda wildcards: "gpu:1" if by_slurm() and gpus(job) else None,
    }
