# Selections as data sets for others: for `datasets`, for TRL and for LLaMA-Factory (docs/export.md).

EXPORT = f"results/export/{{run}}/{ROLLOUT_SET}/{{strategy}}"


rule exported_selection:
    input:
        unpack(exported_data),
    output:
        card=f"{EXPORT}/README.md",
        parquet=f"{EXPORT}/data/train.parquet",
        trl=f"{EXPORT}/trl/train.jsonl",
        llama_factory=f"{EXPORT}/llama_factory/train.jsonl",
        dataset_info=f"{EXPORT}/llama_factory/dataset_info.json",
        recipe=f"{EXPORT}/llama_factory/sft.yaml",
        rejects=f"{EXPORT}.rejects.arrow",
    log:
        f"logs/export/{{run}}/{ROLLOUT_SET}/{{strategy}}.log",
    conda:
        "../../envs/distrace.yaml"
    threads: lambda w: model_config(student_of(w))["threads"]
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        about=lambda w: as_json(plan.selection_settings(w.run, w.author, w.strategy)),
        settings=lambda w: settings_of(student_of(w)),
        version=source_digest("nodes.exported_selection"),
    shell:
        "python -m distrace.nodes.exported_selection --about {params.about:q} --questions {input.questions} "
        "--rollouts {input.rollouts} --rankings {input.rankings} --selection {input.selection} "
        "--teachers {input.teachers} --student {input.student} --settings {params.settings:q} --threads {threads} "
        "--out {output.card} 2>&1 | tee {log}"
