# Posteriors by the network (values), beside kriging, and, of mixtures, by the exact score.


def conditioning_options(wildcards, field):
    """What is seen, the methods and the sampler, where networks start, and test sets where there are any."""
    settings = of(wildcards).conditioning
    found = section(settings, "networks", "resolutions", "observed", "methods", "start")
    found["observed"] = {name: flow(dumped(seen)) for name, seen in settings.observed.items()}
    found["method"] = [sampler_text(method) for method in settings.methods]
    if field == "values" and settings.start != "prior":
        found["start"] = settings.start.value
    return options(found | ({} if of(wildcards).mixture else {"data": test_set(wildcards, wildcards.resolution)}))


for FIELD, SOURCE in {"values": f"{RUN}/model.safetensors", "exact": f"{ARM}/target.json"}.items():
    JOBS[f"condition_{FIELD}"] = Job(
        f"Posteriors of {OF_RUN}, at {{wildcards.resolution}}",
        "condition {input.source} --resolution {wildcards.resolution} {params.gaussian} {params.options}"
        " --seed {wildcards.seed} --output {output.table}",
        place=f"{AT_RUN}/condition-{FIELD}-{{resolution}}",
        input={
            "source": SOURCE,
            "gaussian": law_of if FIELD == "values" else [],
            "data": lambda wildcards: [] if of(wildcards).mixture else test_set(wildcards, wildcards.resolution),
        },
        output={
            "table": f"{RUN}/conditioning/{FIELD}-{{resolution}}.csv",
            "fields": f"{RUN}/conditioning/{FIELD}-{{resolution}}.safetensors",
        },
        params={
            "gaussian": option("gaussian"),
            "options": lambda wildcards, field=FIELD: conditioning_options(wildcards, field),
        },
        **LONG,
    )
