# Questions, from a file, a hub data set or the world.


def questions_settings(wildcards):
    settings = plan.config["questions"][wildcards.questions]
    columns = {key: settings[key] for key in ("source", "question", "answer", "solution", "skip", "limit")}
    return as_json(columns | {"seed": plan.config["seed"] if settings["source"]["world"] else 0})


rule questions:
    input:
        source=lambda w: plan.config["questions"][w.questions]["source"]["file"] or [],
    output:
        questions="results/questions/{questions}/{part}.arrow",
        rejects="results/questions/{questions}/{part}.rejects.arrow",
    log:
        "logs/questions/{questions}/{part}.log",
    params:
        settings=questions_settings,
        parts=lambda w: plan.config["questions"][w.questions]["parts"],
        version=NODE_VERSIONS["questions"],
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    conda:
        "../../envs/distrace.yaml"
    shell:
        "python -m distrace.questions --settings {params.settings:q} --part {wildcards.part} --parts {params.parts} "
        "--out {output.questions} 2>&1 | tee {log}"
